//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face.

use crate::{ModelConfig, RopeScaling};

/// Cosines and sines of every position up to a length.
#[derive(Debug)]
pub(crate) struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// For positions `0..length`. Frequencies and angles are f32, as the checkpoints were trained with.
    pub fn new(c: &ModelConfig, length: usize) -> Self {
        let half = c.rotary_width / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / c.rotary_width as f32;
                stretch(1.0 / (c.rope_theta as f32).powf(exponent), c.rope_scaling)
            })
            .collect();
        let mut rope = Rope { half, cos: Vec::with_capacity(length * half), sin: Vec::with_capacity(length * half) };
        for position in 0..length {
            for frequency in &frequencies {
                let angle = f64::from(position as f32 * frequency);
                rope.cos.push(angle.cos() as f32);
                rope.sin.push(angle.sin() as f32);
            }
        }
        rope
    }

    /// How many positions are there.
    pub fn length(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }

    /// Rotates a head at a position: pairs are `(x[i], x[i + half])`; what lies beyond the rotated part stays as it is.
    pub fn turn(&self, position: usize, x: &mut [f32]) {
        self.rotate(position, x, 1.0);
    }

    /// The inverse rotation, which is the derivative.
    pub fn turn_back(&self, position: usize, x: &mut [f32]) {
        self.rotate(position, x, -1.0);
    }

    fn rotate(&self, position: usize, x: &mut [f32], sign: f32) {
        let (cos, sin) =
            (&self.cos[position * self.half..][..self.half], &self.sin[position * self.half..][..self.half]);
        let (first, second) = x[..2 * self.half].split_at_mut(self.half);
        for i in 0..self.half {
            let (a, b) = (first[i], second[i]);
            let s = sin[i] * sign;
            first[i] = a * cos[i] - b * s;
            second[i] = b * cos[i] + a * s;
        }
    }
}

/// Llama 3.1 keeps short wavelengths, divides long ones by `factor`, and ramps between (Hugging Face's `llama3` rope type).
fn stretch(frequency: f32, scaling: Option<RopeScaling>) -> f32 {
    match scaling {
        None => frequency,
        Some(RopeScaling::Linear { factor }) => frequency / factor as f32,
        Some(RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context }) => {
            let (factor, low, high) = (factor as f32, low_frequency_factor as f32, high_frequency_factor as f32);
            let context = original_context as f32;
            let wavelength = std::f32::consts::TAU / frequency;
            if wavelength > context / low {
                frequency / factor
            } else if wavelength < context / high {
                frequency
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    fn config(head_width: usize, rope_theta: f64, rope_scaling: Option<RopeScaling>) -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocabulary: 16,
            hidden: 16,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_width,
            rotary_width: head_width,
            feed_forward: 16,
            experts: None,
            context: 131_072,
            rope_theta,
            rope_scaling,
            norm_epsilon: 1e-5,
            qkv_bias: false,
            output_bias: false,
            qk_norm: false,
            tied: true,
            language_head: true,
            value_head: false,
            reward_head: false,
            bos: None,
            eos: vec![],
        }
    }

    #[test]
    fn rotation_matches_the_numbers_of_the_spec_and_turns_back() {
        // Spec A §12.6: partial RoPE with rotary width 4 of 8; the last four values of q = 1..8 pass through.
        for (theta, position, expected) in
            [(1e4, 1, [-1.984111, 1.959901, 2.462378, 4.0198]), (1e6, 3, [-1.413353, 1.987991, -2.828857, 4.005982])]
        {
            let rope = Rope::new(&ModelConfig { rotary_width: 4, ..config(8, theta, None) }, 4);
            let mut q: [f32; 8] = std::array::from_fn(|i| i as f32 + 1.0);
            rope.turn(position, &mut q);
            for (got, want) in q.iter().zip(expected) {
                assert!((got - want).abs() < 1e-5, "{q:?}");
            }
            assert_eq!(q[4..], [5.0, 6.0, 7.0, 8.0]);
            rope.turn_back(position, &mut q);
            for (i, got) in q.iter().enumerate() {
                assert!((got - (i as f32 + 1.0)).abs() < 1e-5, "{q:?}");
            }
        }
    }

    #[test]
    fn llama3_scaling_keeps_short_wavelengths_and_divides_long_ones() {
        let scaling = Some(RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        });
        assert_eq!(stretch(1.0, scaling), 1.0);
        assert_eq!(stretch(1e-5, scaling), 1e-5 / 8.0);
        // Wavelength 4096 = context/2: smooth = (2 − 1)/3, frequency·((1 − 1/3)/8 + 1/3).
        let frequency = std::f32::consts::TAU / 4096.0;
        assert!((stretch(frequency, scaling) / frequency - (2.0 / 24.0 + 1.0 / 3.0)).abs() < 1e-5);
    }
}
