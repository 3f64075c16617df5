#!/usr/bin/env python3
"""Both sides of the speed comparison on the same work, interleaved A-B-A-B; prints ratios and writes bench.json.

  bash benches/peers/peer_venv.sh ./peer-venv            # once: PyTorch and TRL on CPU, 1.9 GB, from PyPI
  python3 benches/peers/compare.py --venv ./peer-venv    # medians over --rounds rounds, one thread unless --threads

Equal work: the same shapes (`a` 5.4 M parameters, batch 8x128; `b` SmolLM2-135M's, batch 2x128), forward + backward +
AdamW for `train`, 16 prompt tokens and 128 (b: 48) greedy tokens for `decode`. The figure is tokens per CPU second of the
process, which a busy machine disturbs less than wall time; both are in bench.json.
"""
import argparse, json, os, platform, re, statistics, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = [("train", "a", None), ("decode", "a", 1), ("decode", "a", 16), ("decode", "a", 64)]
LARGE = [("train", "b", None), ("decode", "b", 1), ("decode", "b", 8)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--venv", required=True, help="environment made by peer_venv.sh")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seconds", type=float, default=4.0, help="of each peer measurement")
    p.add_argument("--trl", action="store_true", help="a whole GRPO step against TRL too")
    p.add_argument("--large", action="store_true", help="the 135M shape too")
    p.add_argument("--out", default="bench.json")
    a = p.parse_args()
    ours = build()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    flags = next((l for l in open("/proc/cpuinfo") if l.startswith("flags")), "")
    peer = subprocess.run([f"{a.venv}/bin/python", "-c", "import torch; print(torch.__version__)"],
                          capture_output=True, text=True, check=True).stdout.strip()
    machine = {"cpu": cpu, "avx512": "avx512f" in flags, "threads": a.threads, "rounds": a.rounds, "torch": peer}
    print(f"{cpu}, AVX-512 {'yes' if machine['avx512'] else 'no'}, {a.threads} thread(s), PyTorch {peer}, {a.rounds} rounds\n")
    print(f"| work | Lapidary tok/CPU s | PyTorch f32 tok/CPU s | ratio | spread of the ratio | Lapidary MiB | PyTorch MiB |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for case in CASES + (LARGE if a.large else []):
        pairs = [(run_ours(ours, case, a), run_peer(case, a)) for _ in range(a.rounds)]
        ratios = sorted(o["cpu"] / t["cpu"] for o, t in pairs)
        row = {"work": " ".join(str(x) for x in case if x is not None), "ratio": statistics.median(ratios),
               "ratio_low": ratios[0], "ratio_high": ratios[-1],
               **{f"{side}_{k}": statistics.median(p[i][k] for p in pairs)
                  for i, side in enumerate(("lapidary", "torch")) for k in ("cpu", "wall", "mib")}}
        rows.append(row)
        print(f"| {row['work']} | {row['lapidary_cpu']:.0f} | {row['torch_cpu']:.0f} | {row['ratio']:.2f}x | "
              f"{ratios[0]:.2f}-{ratios[-1]:.2f} | {row['lapidary_mib']:.0f} | {row['torch_mib']:.0f} |", flush=True)
    if a.trl:
        rows.append(grpo(ours, a))
    Path(a.out).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def grpo(binary, a):
    """One GRPO step of each side: the same parameters, 8 prompts of 32 tokens x 8 samples of exactly 64, one update."""
    pairs = []
    for _ in range(a.rounds):
        ours = json.loads(subprocess.run([binary, "grpo"], env={**os.environ, "ROUNDS": "3", "THREADS": str(a.threads)},
                                         capture_output=True, text=True, check=True).stdout)
        env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        script = str(Path(__file__).with_name("trl_grpo_bench.py"))
        words = ["--size", "5m", "--prompts", "8", "--group", "8", "--prompt-len", "32", "--completion", "64", "--steps", "5",
                 "--warmup", "1", "--threads", str(a.threads), "--passive"]
        out = subprocess.run([f"{a.venv}/bin/python", script, *words], env=env, capture_output=True, text=True, check=True)
        trl = json.loads(out.stdout.splitlines()[-1])
        parameters = int(ours["what"].split()[1])
        if parameters != trl["params"]:
            sys.exit(f"unequal work: {parameters} parameters against {trl['params']}")
        pairs.append((8 * 8 * 64 / ours["tokens_per_cpu_second"], trl["cpu_step_s"], ours["peak_mib"], trl["peak_rss_mb"]))
    ratios = sorted(t / o for o, t, *_ in pairs)
    median = lambda i: statistics.median(pair[i] for pair in pairs)
    row = {"work": "grpo step 8x8, 32 + 64 tokens", "ratio": statistics.median(ratios), "ratio_low": ratios[0],
           "ratio_high": ratios[-1], "lapidary_cpu_s": median(0), "trl_cpu_s": median(1), "lapidary_mib": median(2),
           "trl_mib": median(3)}
    print(f"\nGRPO step: {median(0):.3f} CPU s against TRL's {median(1):.3f}, {row['ratio']:.2f}x "
          f"({ratios[0]:.2f}-{ratios[-1]:.2f}), {median(2):.0f} MiB against {median(3):.0f}")
    return row


def build():
    """The bench binary of the engine, built for the default target."""
    out = subprocess.run(["cargo", "bench", "-p", "lapidary-engine", "--bench", "steps", "--no-run",
                          "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == "steps":
            return message["executable"]
    sys.exit("cargo built no bench `steps`")


def run_ours(binary, case, a):
    words = [str(x) for x in case if x is not None]
    env = {**os.environ, "ROUNDS": "3", "THREADS": str(a.threads)}
    out = json.loads(subprocess.run([binary, *words], env=env, capture_output=True, text=True, check=True).stdout)
    return {"cpu": out["tokens_per_cpu_second"], "wall": out["tokens_per_second"], "mib": out["peak_mib"]}


def run_peer(case, a):
    words = [str(x) for x in case if x is not None]
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env.update(TH=str(a.threads), SECS=str(a.seconds), OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0")
    script = str(Path(__file__).with_name("torch_bench.py"))
    out = subprocess.run([f"{a.venv}/bin/python", script, *words], env=env, capture_output=True, text=True, check=True).stdout
    number = lambda key: float(re.search(rf"{key} ([\d.]+)", out).group(1))
    return {"cpu": number("per_cpu_s"), "wall": number("toks/s"), "mib": number("rss_MB")}


if __name__ == "__main__":
    main()
