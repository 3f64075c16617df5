//! What the benches measure the machine with.

/// CPU seconds of this process, and its peak memory in MiB.
pub fn usage() -> (f64, u64) {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next()?.parse().ok());
    (cpu, peak.unwrap_or(0) / 1024)
}

#[allow(dead_code)] // one of the benches that share this needs it
/// GB per CPU second that one thread reads from memory: a sum over 256 MiB.
pub fn bandwidth() -> f64 {
    const VALUES: usize = 64 << 20;
    let values = vec![1.0f32; VALUES];
    let (start, _) = usage();
    let mut sums = [0.0f32; 64];
    for part in values.chunks_exact(64) {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    std::hint::black_box(sums);
    (4 * VALUES) as f64 / (usage().0 - start) / 1e9
}

/// GFLOP per CPU second of one thread that does nothing but fused multiply-adds: what the machine gives right now.
pub fn fma_peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn wide(n: usize) -> f32 {
            let (x, mut sums) = (_mm512_set1_ps(0.999), [_mm512_set1_ps(1.0); 16]);
            for _ in 0..n {
                for s in &mut sums {
                    *s = _mm512_fmadd_ps(*s, x, x);
                }
            }
            sums.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
        }
        #[target_feature(enable = "avx2,fma")]
        fn narrow(n: usize) -> f32 {
            let (x, mut sums) = (_mm256_set1_ps(0.999), [_mm256_set1_ps(1.0); 12]);
            for _ in 0..n {
                for s in &mut sums {
                    *s = _mm256_fmadd_ps(*s, x, x);
                }
            }
            sums.iter().map(|s| _mm256_cvtss_f32(*s)).sum()
        }
        let n = 8_000_000;
        let (start, _) = usage();
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            std::hint::black_box(unsafe { wide(n) });
            return (n * 16 * 32) as f64 / (usage().0 - start) / 1e9;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            std::hint::black_box(unsafe { narrow(n) });
            return (n * 12 * 16) as f64 / (usage().0 - start) / 1e9;
        }
    }
    f64::NAN
}
