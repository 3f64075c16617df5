"""Writes blocks.gguf and blocks.safetensors: random blocks of every block type that Lapidary reads, in a file written by
ggml's own Python package, and the values that its numpy code says they stand for.

    python3 -m venv V && V/bin/pip install gguf==0.19.0 safetensors && V/bin/python make.py [LAYERS] [SEED] [FOLDER]

The model makes no sense: width 256 (one superblock a row), a head of width 2, a feed-forward of width 2. Scales are random
halves: of every exponent, subnormal, negative, zero; all other bytes are uniform.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from safetensors.numpy import save_file

LAYERS, SEED = (int(n) for n in (sys.argv[1:3] + ["6", "17"][len(sys.argv[1:3]):]))
FOLDER = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(__file__).parent
WIDTH, VOCABULARY = 256, 4
random = np.random.default_rng(SEED)

# Where a block of each type keeps its half-precision scales (byte offsets).
HALVES = {
    "F16": [0], "BF16": [], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}
KINDS = list(HALVES)


def finite_halves(count):
    """Halves of any bit pattern but those of infinities and NaN."""
    bits = random.integers(0, 1 << 16, count, dtype=np.uint16)
    return np.where(bits & 0x7C00 == 0x7C00, bits ^ 0x4000, bits).astype("<u2")


def blocks_of(name, rows):
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = rows * WIDTH // elements
    if name == "BF16":
        return (random.standard_normal((rows, WIDTH)).astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in HALVES[name]:
        blocks[:, offset : offset + 2] = finite_halves(count).view(np.uint8).reshape(count, 2)
    return blocks.reshape(rows, -1)


writer = GGUFWriter(FOLDER / "blocks.gguf", "llama")
writer.add_block_count(LAYERS)
writer.add_context_length(16)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(2)
writer.add_head_count(1)
writer.add_head_count_kv(1)
writer.add_key_length(2)
writer.add_value_length(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_eos_token_id(0)
expected, number = {}, 0


def quantised(name, hugging_face, rows):
    global number
    kind = KINDS[number % len(KINDS)]
    number += 1
    blocks = blocks_of(kind, rows)
    writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType[kind])
    expected[f"{kind}:{hugging_face}"] = np.ascontiguousarray(dequantize(blocks, GGMLQuantizationType[kind]))


def plain(name, *shape):
    writer.add_tensor(name, np.ones(shape, dtype=np.float32))


quantised("token_embd.weight", "model.embed_tokens.weight", VOCABULARY)
quantised("output.weight", "lm_head.weight", VOCABULARY)
plain("output_norm.weight", WIDTH)
for layer in range(LAYERS):
    for name, module in [("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"),
                         ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj")]:
        quantised(f"blk.{layer}.{name}.weight", f"model.layers.{layer}.{module}.weight", 2)
    for name in ["attn_output", "ffn_down"]:
        plain(f"blk.{layer}.{name}.weight", WIDTH, 2)
    for name in ["attn_norm", "ffn_norm"]:
        plain(f"blk.{layer}.{name}.weight", WIDTH)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, FOLDER / "blocks.safetensors")
