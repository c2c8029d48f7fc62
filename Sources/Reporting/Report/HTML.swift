/// Pieces of a page.
enum HTML {
  /// Text as it stands between tags or in quotes.
  static func escape(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }

  static func section(_ title: String, _ content: String) -> String {
    "<section>\n<h2>\(escape(title))</h2>\n\(content)\n</section>\n"
  }

  static func paragraph(_ text: String) -> String { "<p>\(escape(text))</p>" }

  /// A table that scrolls in itself where it is wider than the page.
  static func table(_ columns: [String], _ rows: [[String]]) -> String {
    let head = columns.map { "<th>\(escape($0))</th>" }.joined()
    let body = rows.map { row in
      "<tr>" + row.map { "<td>\(escape($0))</td>" }.joined() + "</tr>"
    }
    return "<div class=\"wide\"><table>\n<thead><tr>\(head)</tr></thead>\n<tbody>\n"
      + body.joined(separator: "\n") + "\n</tbody></table></div>"
  }

  /// Pairs of a name and a value.
  static func list(_ pairs: [(String, String)]) -> String {
    "<dl>"
      + pairs.map { "<dt>\(escape($0.0))</dt><dd>\(escape($0.1))</dd>" }.joined(separator: "\n")
      + "</dl>"
  }

  /// A page that needs nothing but itself.
  static func page(title: String, _ content: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escape(title))</title>
    <style>
    \(style)
    </style>
    </head>
    <body>
    \(content)</body>
    </html>

    """
  }

  private static let style = """
    :root{color-scheme:light dark;--page:#f6f8fa;--card:#fff;--ink:#24292f;--soft:#57606a;
    --faint:#d0d7de;--line0:#0b62c4;--line1:#c2410c;--line2:#15803d;--line3:#9333ea}
    @media(prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--ink:#e6edf3;
    --soft:#9198a1;--faint:#3d444d;--line0:#58a6ff;--line1:#ff9b5e;--line2:#4ac26b;
    --line3:#c297ff}}
    *{box-sizing:border-box}
    body{margin:0 auto;max-width:1180px;padding:16px;background:var(--page);color:var(--ink);
    font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
    h1{font-size:22px;margin:8px 0}h2{font-size:17px;margin:24px 0 8px}
    p{margin:6px 0;color:var(--soft)}
    dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0;padding:12px 16px;
    background:var(--card);border:1px solid var(--faint);border-radius:8px}
    dt{color:var(--soft)}dd{margin:0}
    .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,350px),1fr));gap:12px}
    .wide+.cards{margin-top:12px}
    .card,figure{margin:0;padding:8px;background:var(--card);border:1px solid var(--faint);
    border-radius:8px}
    figure{margin-bottom:12px}figcaption{color:var(--soft);margin-top:6px}
    figure div{overflow-x:auto}figure img{display:block;image-rendering:pixelated}
    svg{display:block;width:100%;height:auto;font-family:system-ui,sans-serif}
    .wide{overflow-x:auto;background:var(--card);border:1px solid var(--faint);border-radius:8px}
    table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
    th,td{padding:5px 12px;text-align:left;white-space:nowrap}
    th{color:var(--soft);font-weight:600}tbody tr{border-top:1px solid var(--faint)}
    details{background:var(--card);border:1px solid var(--faint);border-radius:8px;padding:8px 16px}
    summary{cursor:pointer}pre{overflow-x:auto;font-size:13px;line-height:1.4}
    """
}
