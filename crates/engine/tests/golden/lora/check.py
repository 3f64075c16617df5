"""Opens with PEFT and transformers what `LAPIDARY_KEEP=FOLDER cargo test files_for_peft` wrote: `python check.py MODELS FOLDER`."""
import json, os, sys
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from peft import PeftModel

models, folder = sys.argv[1:3]
given = load_file(os.path.join(models, "llama", "expected.safetensors"))
rows = [row[:n].long() for row, n in zip(given["input_ids"], given["lengths"].tolist())]


def logps(model):
    out = []
    for row in rows:
        picked = torch.log_softmax(model(row[None]).logits[0, :-1].double(), -1).gather(1, row[1:, None])[:, 0]
        out += [0.0] + picked.tolist()
    return out


def rewards(model):
    return [model(row[None]).logits[0, 0].item() for row in rows]


def check(name, got):
    want = json.load(open(os.path.join(folder, name, "told.json")))
    error = max(abs(a - b) for a, b in zip(got, want, strict=True))
    print(f"{name}: largest difference {error:.1e}")
    assert error < 1e-5, name


at = lambda name: os.path.join(folder, name)
with torch.no_grad():
    base = AutoModelForCausalLM.from_pretrained(os.path.join(models, "llama"))
    check("adapter", logps(PeftModel.from_pretrained(base, at("adapter")).eval()))
    check("merged", logps(AutoModelForCausalLM.from_pretrained(at("merged"))))
    check("both", logps(AutoModelForCausalLM.from_pretrained(at("both"))))
    check("reward", rewards(AutoModelForSequenceClassification.from_pretrained(at("reward"))))
    again = AutoModelForSequenceClassification.from_pretrained(at("both"))
    check("reward", rewards(again))
    base = AutoModelForSequenceClassification.from_pretrained(at("reward"))
    check("reward_adapter", rewards(PeftModel.from_pretrained(base, at("reward_adapter")).eval()))
