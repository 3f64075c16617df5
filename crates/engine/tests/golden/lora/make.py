"""Makes the adapter goldens with PEFT: `python make.py MODELS FOLDER`, MODELS being the folder of golden models."""
import json, os, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from peft import LoraConfig, get_peft_model

CASES = {
    "llama": dict(r=4, lora_alpha=16, target_modules="all-linear"),
    "qwen2": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
    "qwen3": dict(r=8, lora_alpha=8, target_modules="all-linear", use_rslora=True),
    # On experts PEFT has rules of its own for each version of transformers; attention is the same in all of them.
    "glm4_moe": dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
}
models, folder = sys.argv[1:3]


def stir(model):
    """Adapters as they are after some training: B is not zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)


def adapted(base, config, out):
    torch.manual_seed(11)
    model = get_peft_model(base, config)
    stir(model)
    model.save_pretrained(out, save_embedding_layers=False)
    path = os.path.join(out, "adapter_config.json")
    raw = json.load(open(path))
    raw["base_model_name_or_path"] = os.path.basename(models) + "/" + os.path.basename(base.name_or_path)
    json.dump(raw, open(path, "w"), indent=2)
    return model.to(torch.float64).eval()


def finish(out, expected, model):
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = name.replace(".default", "").replace(".modules_to_save", "")
            expected["grad." + key] = parameter.grad.to(torch.float32)
    save_file(expected, os.path.join(out, "expected.safetensors"))
    os.remove(os.path.join(out, "README.md"))


for name, options in CASES.items():
    given = load_file(os.path.join(models, name, "expected.safetensors"))
    ids, lengths = given["input_ids"].long(), given["lengths"].tolist()
    base = AutoModelForCausalLM.from_pretrained(
        os.path.join(models, name), attn_implementation="eager", experts_implementation="eager"
    )
    out = os.path.join(folder, name)
    model = adapted(base, LoraConfig(task_type="CAUSAL_LM", **options), out)
    logps = torch.zeros(ids.shape[0], ids.shape[1] - 1, dtype=torch.float64)
    total, count = 0.0, 0
    for row, n in enumerate(lengths):
        logits = model(ids[row : row + 1, :n]).logits[0]
        picked = torch.log_softmax(logits[:-1], -1).gather(1, ids[row, 1:n, None])[:, 0]
        logps[row, : n - 1] = picked
        total, count = total - picked.sum(), count + n - 1
    loss = total / count
    loss.backward()
    finish(out, {"input_ids": given["input_ids"].contiguous(), "lengths": given["lengths"].contiguous(),
                 "logp": logps.detach(), "loss": loss.detach()[None]}, model)

base = AutoModelForSequenceClassification.from_pretrained(os.path.join(models, "llama"), num_labels=1, attn_implementation="eager")
out = os.path.join(folder, "reward")
model = adapted(base, LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"]), out)
given = load_file(os.path.join(models, "llama", "expected.safetensors"))
rewards = [model(given["input_ids"][r : r + 1, :n].long()).logits[0, 0] for r, n in enumerate(given["lengths"].tolist())]
rewards = torch.stack(rewards)
(rewards**2 / 2).sum().backward()
finish(out, {"input_ids": given["input_ids"].contiguous(), "lengths": given["lengths"].contiguous(),
             "rewards": rewards.detach()}, model)
