/// The published name of each parameter of a file, whatever the file calls it.
///
/// Known are the names of the official code, those of its later, renamed release
/// (`pretext_neck.*`), and those of timm's and the evaluation models' vision transformers, which
/// have the encoder alone. Copies of the encoder and classifier heads are left out.
struct ImportedNames {
  /// Where a parameter comes from.
  enum Origin: Equatable {
    case tensor(String)
    /// A third of a joint bias: 0 the queries', 2 the values'.
    case third(String, Int)

    var name: String {
      switch self {
      case .tensor(let name), .third(let name, _): name
      }
    }
  }

  private(set) var parameters: [String: Origin] = [:]
  /// Joint biases, whose keys' third must be zero.
  private(set) var jointBiases: [String] = []
  /// The encoder's table, and that of regressor and decoder.
  private(set) var positions: String?
  private(set) var decoderPositions: String?
  let isEncoderOnly: Bool

  private static let renamed = [
    ("pretext_neck.regressor_blocks.", "regresser.regressor_blocks."),
    ("pretext_neck.decoder_blocks.", "decoder.decoder_blocks."),
    ("pretext_neck.norm.", "regresser.norm."), ("pretext_neck.norm2.", "decoder.norm."),
    ("pretext_neck.head.", "decoder.head."),
    ("encoder_to_decoder_norm.", "encoder_to_regresser_norm."),
    ("encoder_to_decoder.", "encoder_to_regresser."),
  ]
  private static let copies = ["alignment_encoder.", "teacher."]

  init(_ names: [String]) {
    let hasPrefix = !names.contains("cls_token")
    isEncoderOnly = !names.contains("mask_token")
    for name in names where !ImportedNames.copies.contains(where: name.hasPrefix) {
      if !hasPrefix, name.hasPrefix("head.") { continue }
      add(name, as: hasPrefix ? ImportedNames.published(name) : "encoder.\(name)")
    }
  }

  private mutating func add(_ name: String, as published: String) {
    switch published {
    case "encoder.pos_embed": positions = name
    case "rd_pos_embed": decoderPositions = name
    case _ where published.hasSuffix(".attn.qkv.bias"):
      let stem = published.dropLast("qkv.bias".count)
      parameters["\(stem)q_bias"] = .third(name, 0)
      parameters["\(stem)v_bias"] = .third(name, 2)
      jointBiases.append(name)
    case _ where published.hasSuffix(".ls1.gamma"):
      parameters["\(published.dropLast("ls1.gamma".count))gamma_1"] = .tensor(name)
    case _ where published.hasSuffix(".ls2.gamma"):
      parameters["\(published.dropLast("ls2.gamma".count))gamma_2"] = .tensor(name)
    default: parameters[published] = .tensor(name)
    }
  }

  private static func published(_ name: String) -> String {
    for (old, new) in renamed where name.hasPrefix(old) { return new + name.dropFirst(old.count) }
    return name
  }
}
