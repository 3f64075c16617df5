"""Makes the golden models whose names carry a feature: python make.py [NAME ...]

Needs torch and transformers (2.15 and 5.23 made what is here). Weights are f32 from a seed; everything expected is computed in float64.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

COMMON = dict(
    vocab_size=128, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
)
EXPERTS = dict(moe_intermediate_size=12, num_experts_per_tok=2)
MODELS = {
    "llama_bias": dict(model_type="llama", num_hidden_layers=2, attention_bias=True),
    "qwen3_moe_mixed": dict(
        model_type="qwen3_moe", num_hidden_layers=4, attention_bias=True, num_experts=5, norm_topk_prob=False,
        decoder_sparse_step=2, mlp_only_layers=[3], **EXPERTS,
    ),
    "glm4_moe_groups": dict(
        model_type="glm4_moe", num_hidden_layers=2, first_k_dense_replace=1, n_routed_experts=8, n_shared_experts=2,
        n_group=2, topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.5, use_qk_norm=False,
        partial_rotary_factor=0.5, num_nextn_predict_layers=0, **EXPERTS,
    ),
}
ROWS = [20, 13, 7]


def model_of(name):
    torch.manual_seed(sum(map(ord, name)))
    config = AutoConfig.for_model(**COMMON, **MODELS[name])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
    for key, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if "inv_freq" in key:
            continue
        values = 0.3 * torch.randn_like(tensor)
        tensor.data.copy_(1 + values if "norm" in key else values)
    return model


def statistics(model, rows):
    """Logits, then log-probability and entropy of every token but the first, row by row."""
    logits, logp, entropy = [], [], []
    for row in rows:
        logits.append(model(row[None]).logits[0])
        logs = logits[-1][:-1].log_softmax(-1)
        logp.append(logs.gather(1, row[1:, None])[:, 0])
        entropy.append(-(logs.exp() * logs).sum(-1))
    return logits, logp, entropy


def loss_of(model, rows):
    return -torch.cat(statistics(model, rows)[1]).mean()


def pad(rows, width, dtype):
    out = torch.zeros(len(rows), width, dtype=dtype)
    for line, row in zip(out, rows):
        line[: len(row)] = row.detach().to(dtype)
    return out


def main(names):
    for name in names:
        model, folder = model_of(name), Path(__file__).parent / name
        model.save_pretrained(folder)
        generator = torch.Generator().manual_seed(7)
        rows = [torch.randint(3, 128, (n,), generator=generator) for n in ROWS]
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        ).double()
        logits, logp, entropy = statistics(model, rows)
        loss = -torch.cat(logp).mean()
        loss.backward()
        out = {
            "input_ids": pad(rows, ROWS[0], torch.int32),
            "lengths": torch.tensor(ROWS, dtype=torch.int32),
            "logits": torch.nn.utils.rnn.pad_sequence(logits, batch_first=True).detach().float(),
            "logp": pad(logp, ROWS[0] - 1, torch.float32),
            "entropy": pad(entropy, ROWS[0] - 1, torch.float32),
            "loss": loss.detach()[None],
        }
        out |= gradients(model)
        greedy, margins = rows[0][:6].tolist(), []
        for _ in range(12):
            best = model(torch.tensor([greedy])).logits[0, -1].topk(2)
            greedy.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
        out["greedy"], out["greedy_margin"] = torch.tensor(greedy, dtype=torch.int32), torch.tensor(margins)
        out["losses10"] = ten_steps(model, rows)
        save_file({key: value.contiguous() for key, value in out.items()}, folder / "expected.safetensors")
        print(name, f"loss {float(loss):.4f}", f"least margin {min(margins):.2e}", sum(p.numel() for p in model.parameters()))


def gradients(model):
    """Gradients under the names of the checkpoint, where every expert has tensors of its own."""
    out = {}
    for key, tensor in model.named_parameters():
        grad = tensor.grad.float()
        if key.endswith("experts.gate_up_proj"):
            for i, both in enumerate(grad):
                for part, half in zip(("gate", "up"), both.chunk(2)):
                    out[f"grad.{key.removesuffix('gate_up_proj')}{i}.{part}_proj.weight"] = half
        elif key.endswith("experts.down_proj"):
            for i, one in enumerate(grad):
                out[f"grad.{key.removesuffix('down_proj')}{i}.down_proj.weight"] = one
        else:
            out[f"grad.{key}"] = grad
    return out


def ten_steps(model, rows):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = loss_of(model, rows)
        losses.append(float(loss))
        loss.backward()
        optimizer.step()
    return torch.tensor(losses, dtype=torch.float64)


if __name__ == "__main__":
    main(sys.argv[1:] or MODELS)
