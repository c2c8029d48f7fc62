"""A plain PyTorch statement of one CAE training step, for comparison with `cae-dist bench step`.

Same sizes, same work: encoder on visible patches, alignment target without gradient, regressor,
decoder, both losses, backward, clipping, AdamW. Attention is `scaled_dot_product_attention`, AdamW
is the fused one. Prints the images/s of each counted step, one a line.
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {"tiny": (192, 12, 12), "small": (384, 12, 12), "base": (768, 12, 12), "large": (1024, 24, 16)}
GRID, PATCH, MASKED, VOCABULARY = 14, 16, 98, 8192


class Attention(nn.Module):
    def __init__(self, width, heads, cross):
        super().__init__()
        self.heads, self.cross = heads, cross
        if cross:
            self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        else:
            self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, q, k=None, v=None):
        if self.cross:
            q = F.linear(q, self.q.weight, self.q_bias)
            k = self.k(k)
            v = F.linear(v, self.v.weight, self.v_bias)
        else:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            q, k, v = F.linear(q, self.qkv.weight, bias).chunk(3, dim=-1)
        x = F.scaled_dot_product_attention(self.split(q), self.split(k), self.split(v))
        return self.proj(x.transpose(1, 2).flatten(2))


def mlp(width):
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def norm(width):
    return nn.LayerNorm(width, eps=1e-6)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.attention, self.mlp = Attention(width, heads, False), mlp(width)
        self.gamma_1 = nn.Parameter(torch.full((width,), 0.1))
        self.gamma_2 = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        x = x + self.gamma_1 * self.attention(self.norm1(x))
        return x + self.gamma_2 * self.mlp(self.norm2(x))


class RegressorBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v, self.norm2 = (norm(width) for _ in range(4))
        self.attention, self.mlp = Attention(width, heads, True), mlp(width)
        self.gamma_1 = nn.Parameter(torch.full((width,), 0.1))
        self.gamma_2 = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, q, visible, q_position, k_position):
        kv = torch.cat([visible, q], 1)
        a = self.attention(self.norm_q(q + q_position), self.norm_k(kv + k_position), self.norm_v(kv))
        u = self.norm2(q + self.gamma_1 * a)
        return u + self.gamma_2 * self.mlp(u)


class CAE(nn.Module):
    def __init__(self, width, depth, heads):
        super().__init__()
        self.patches = nn.Linear(3 * PATCH * PATCH, width)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = norm(width)
        self.regressor = nn.ModuleList(RegressorBlock(width, heads) for _ in range(4))
        self.regressor_norm = norm(width)
        self.decoder = nn.ModuleList(Block(width, heads) for _ in range(4))
        self.decoder_norm, self.head = norm(width), nn.Linear(width, VOCABULARY)
        self.register_buffer("position", torch.randn(1, GRID * GRID, width) * 0.5)

    def encode(self, patches, index):
        x = self.patches(patches) + self.position
        x = torch.gather(x, 1, index[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:]

    def forward(self, patches, visible, masked, targets):
        latents = self.encode(patches, visible)
        with torch.no_grad():
            target = self.encode(patches, masked)
        position = self.position.expand(len(patches), -1, -1)
        pick = lambda index: torch.gather(position, 1, index[..., None].expand(-1, -1, position.shape[-1]))
        q_position, k_position = pick(masked), torch.cat([pick(visible), pick(masked)], 1)
        q = self.mask_token.expand(len(patches), MASKED, -1)
        for block in self.regressor:
            q = block(q, latents, q_position, k_position)
        predicted = self.regressor_norm(q)
        x = predicted + q_position
        for block in self.decoder:
            x = block(x)
        logits = self.head(self.decoder_norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()) + 2 * F.mse_loss(predicted, target)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="base", choices=SIZES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = CAE(*SIZES[options.model])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    patches = torch.randn(options.batch, GRID * GRID, 3 * PATCH * PATCH)
    order = torch.stack([torch.randperm(GRID * GRID) for _ in range(options.batch)])
    visible, masked = order[:, MASKED:].sort().values, order[:, :MASKED].sort().values
    targets = torch.randint(VOCABULARY, (options.batch, MASKED))
    for step in range(options.repeats + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        model(patches, visible, masked, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        if step > 0:
            print(options.batch / (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
