"""Makes the reward-model goldens: `python make_reward.py FOLDER`."""
import sys, json, os
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, Qwen3Config, LlamaForSequenceClassification, Qwen3ForSequenceClassification

shape = dict(vocab_size=96, hidden_size=20, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, head_dim=10, max_position_embeddings=64, num_labels=1, pad_token_id=0, bos_token_id=1,
             eos_token_id=2)
rows = [[1, 17, 5, 40, 8, 2], [1, 9, 33], [1, 60, 61, 62, 63, 64, 65, 7, 2]]
weights = [0.7, -1.1, 0.4]
for name, config, model in [
    ("llama", LlamaConfig(**shape, tie_word_embeddings=False), LlamaForSequenceClassification),
    ("qwen3", Qwen3Config(**shape, tie_word_embeddings=True), Qwen3ForSequenceClassification),
]:
    torch.manual_seed(5)
    folder = os.path.join(sys.argv[1], name)
    made = model(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    made.save_pretrained(folder)
    made = model.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    made.eval()
    # One row at a time: no padding, so "the last token" is the last token.
    rewards = torch.cat([made(torch.tensor([row])).logits[0] for row in rows])
    loss = (rewards * torch.tensor(weights, dtype=torch.float64)).sum() + (rewards**2).sum() / 2
    loss.backward()
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int32)
    out = {"input_ids": ids, "lengths": torch.tensor([len(row) for row in rows], dtype=torch.int32),
           "weights": torch.tensor(weights, dtype=torch.float64), "rewards": rewards.detach(), "loss": loss.detach()[None]}
    for parameter, value in made.named_parameters():
        out["grad." + parameter] = value.grad.to(torch.float32)
    save_file(out, os.path.join(folder, "expected.safetensors"))
