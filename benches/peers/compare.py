#!/usr/bin/env python3
"""Lapidary beside PyTorch and TRL on the same work, both sides interleaved; prints ratios, writes benches/bench.json.

  bash benches/peers/peer_venv.sh ./peer-venv            # once: PyTorch and TRL on CPU, 1.9 GB, from PyPI
  python3 benches/peers/compare.py --venv ./peer-venv    # everything, below ten minutes on a quiet machine of two cores
  python3 benches/peers/compare.py --venv ./peer-venv --only train --rounds 1
  cargo run --release -p xtask -- speed                  # the tables of README.md and docs/speed.md, and the plots

Equal work, checked: the same shapes (`a` 5.4 M parameters, batch 8x128; `b` SmolLM2-135M's, batch 2x128) with the same number of
parameters on both sides; forward + backward + AdamW for `train`; 16 prompt tokens and 128 (b: 48) greedy tokens for `decode`;
for `grpo` the same number of prompts, samples and tokens of the same length, one update. The figure is tokens per CPU second of
the process, which a busy machine disturbs less than wall time; both are in bench.json. A ratio is the median over rounds, each
round's ratio being that of two neighbouring runs.
"""
import argparse, json, os, platform, statistics, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
# (words of our bench, words of PyTorch's, name of the work, peer, rounds, factor that the issue asks for)
CASES = [
    ("train a", "train a", "train step, 5.4 M parameters, 8×128 tokens", "PyTorch f32", 3, 2.6),
    ("train a", "train a autocast", "train step, 5.4 M parameters, 8×128 tokens", "PyTorch bf16 autocast", 1, 1.5),
    ("train a bf16", "train a autocast", "the same with products in bf16", "PyTorch bf16 autocast", 1, 2.2),
    ("decode a 1", "decode a 1", "decode, 5.4 M parameters, batch 1", "PyTorch f32", 3, 5.0),
    ("decode a 16", "decode a 16", "decode, 5.4 M parameters, batch 16", "PyTorch f32", 3, 3.5),
    ("decode a 64", "decode a 64", "decode, 5.4 M parameters, batch 64", "PyTorch f32", 3, 3.0),
    ("train b", "train b", "train step, 135 M parameters, 2×128 tokens", "PyTorch f32", 1, 2.0),
    ("decode b 1", "decode b 1", "decode, 135 M parameters, batch 1", "PyTorch f32", 2, 1.5),
    ("decode b 1 bf16", "decode b 1", "the same with products in bf16", "PyTorch f32", 2, 1.5),
    ("decode b 8", "decode b 8", "decode, 135 M parameters, batch 8", "PyTorch f32", 1, 3.0),
]
# (prompts, samples, prompt tokens, completion tokens, rounds, factor)
STEPS = [(8, 8, 32, 64, 2, 4.0), (1, 16, 256, 64, 2, 6.0)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--venv", required=True, help="environment made by peer_venv.sh")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, help="of every comparison, instead of each one's own number")
    p.add_argument("--quick", action="store_true", help="one round, without autocast and the 135 M shape")
    p.add_argument("--only", default="", help="only works whose words begin so: train, decode, grpo, kernels, growth")
    p.add_argument("--out", default=str(ROOT / "benches/bench.json"))
    a = p.parse_args()
    a.rounds = 1 if a.quick else a.rounds
    start = time.time()
    bench = {name: build(name) for name in ("steps", "kernels")}
    built = time.time()
    versions = peer(a, ["-c", "import torch, transformers, trl; print(torch.__version__, transformers.__version__, trl.__version__)"]).split()
    out = {"machine": machine(a, versions), "rows": [], "kernels": [], "growth": []}
    print(f"{out['machine']['cpu']}, {a.threads} thread(s), PyTorch {versions[0]}, TRL {versions[2]}\n")
    print("| work | peer | Lapidary | peer | ratio | spread | Lapidary MiB | peer MiB |\n|---|---|---|---|---|---|---|---|")
    wanted = lambda words: words.startswith(a.only)
    for ours, theirs, work, name, rounds, asked in CASES:
        if wanted(ours) and not (a.quick and ("autocast" in theirs or " b" in theirs)):
            pairs = [(run(bench["steps"], ours, a), torch(theirs, a)) for _ in range(a.rounds or rounds)]
            report(out, work, name, asked, pairs)
            save(out, a)
    for step in STEPS:
        if wanted("grpo"):
            grpo(out, bench["steps"], step, a)
            save(out, a)
    if wanted("kernels"):
        out["kernels"] = lines(bench["kernels"], [], a)
    if wanted("growth"):
        out["growth"] = lines(bench["steps"], ["growth"], a)
    out["machine"]["seconds"] = round(time.time() - built)
    save(out, a)
    print(f"\n{out['machine']['seconds']} s after {built - start:.0f} s of building; written to {a.out}")


def save(out, a):
    Path(a.out).write_text(json.dumps(out, indent=1) + "\n")


def report(out, work, name, asked, pairs):
    """One row: medians of both sides, and of the ratios of neighbouring runs."""
    for ours, theirs in pairs:
        if ours["parameters"] != theirs["parameters"] or ours["tokens"] != theirs["tokens"]:
            sys.exit(f"unequal work in {work}: {ours} against {theirs}")
    ratios = sorted(o["cpu"] / t["cpu"] for o, t in pairs)
    row = {"work": work, "peer": name, "asked": asked, "ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
    for side, i in (("lapidary", 0), ("peer", 1)):
        for key in ("cpu", "wall", "mib"):
            row[f"{side}_{key}"] = statistics.median(pair[i][key] for pair in pairs)
    row.update({key: pairs[-1][0][key] for key in ("fma_share", "bandwidth_share") if pairs[-1][0].get(key)})
    out["rows"].append(row)
    print(f"| {work} | {name} | {row['lapidary_cpu']:.0f} | {row['peer_cpu']:.0f} | {row['ratio']:.2f}x | "
          f"{ratios[0]:.2f}-{ratios[-1]:.2f} | {row['lapidary_mib']:.0f} | {row['peer_mib']:.0f} |", flush=True)


def grpo(out, binary, step, a):
    """A whole step of each side: sample every prompt, one update on all samples."""
    prompts, group, prompt, completion, rounds, asked = step
    pairs = []
    for _ in range(a.rounds or rounds):
        ours = run(binary, f"grpo {prompts} {group} {prompt} {completion}", a)
        words = ["--size", "5m", "--prompts", prompts, "--group", group, "--prompt-len", prompt, "--completion", completion,
                 "--steps", "4", "--warmup", "1", "--threads", a.threads, "--passive"]
        trl = json.loads(peer(a, [str(HERE / "trl_grpo_bench.py"), *map(str, words)]).splitlines()[-1])
        tokens = prompts * group * completion
        pairs.append((ours, {"cpu": tokens / trl["cpu_step_s"], "wall": tokens / trl["median_step_s"], "mib": trl["peak_rss_mb"],
                             "parameters": trl["params"], "tokens": prompts * trl["group"] * trl["completion"]}))
    work = f"GRPO step, 5 M parameters, {prompts} prompts × {group} samples, {prompt} + {completion} tokens"
    report(out, work, "TRL", asked, pairs)


def machine(a, versions):
    info = lambda key: next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith(key)), platform.machine())
    flags = info("flags").split()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"cpu": info("model name"), "cores": os.cpu_count(), "avx512": "avx512f" in flags, "bf16": "avx512_bf16" in flags,
            "threads": a.threads, "quick": a.quick, "torch": versions[0], "transformers": versions[1], "trl": versions[2], "commit": commit}


def build(name):
    """A bench of the engine, built for the default target."""
    out = subprocess.run(["cargo", "bench", "-p", "lapidary-engine", "--bench", name, "--no-run", "--message-format=json"],
                         cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == name:
            return message["executable"]
    sys.exit(f"cargo built no bench `{name}`")


def lines(binary, words, a, **more):
    env = {**os.environ, "ROUNDS": "2", "THREADS": str(a.threads), **more}
    out = subprocess.run([binary, *words], env=env, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def run(binary, words, a):
    words = words.split()
    half = words[-1] == "bf16"
    return lines(binary, words[:-1] if half else words, a, **({"COMPUTE": "bf16"} if half else {}))[0]


def peer(a, words):
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env.update(TH=str(a.threads), SECS="3", OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0")
    return subprocess.run([f"{a.venv}/bin/python", *words], env=env, capture_output=True, text=True, check=True).stdout


AUTOCAST = {}


def torch(words, a):
    # Emulated where the CPU has no bf16 units, and then so slow that one run must serve every comparison.
    if words not in AUTOCAST:
        found = json.loads(peer(a, [str(HERE / "torch_bench.py"), *words.split()]).splitlines()[-1])
        if "autocast" not in words:
            return found
        AUTOCAST[words] = found
    return AUTOCAST[words]


if __name__ == "__main__":
    main()
