//! Which instruction set the kernels use, and how one body of code is compiled for each.

use std::{fmt, str::FromStr};

/// An instruction set that the kernels are written for.
///
/// On one instruction set the same inputs give the same bytes; between two of them the last bits of sums differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// AVX-512 (F, BW, DQ, VL) with FMA: vectors of sixteen float32.
    Avx512,
    /// AVX2 with FMA: vectors of eight float32.
    Avx2,
    /// NEON of 64-bit ARM: vectors of four float32, fused multiply-add.
    Neon,
    /// What the compiler makes of plain Rust for any processor; products and sums round separately.
    Portable,
}

/// The precision of multiplications. Sums are float32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// Operands are float32.
    #[default]
    F32,
    /// Operands are rounded to bf16 (nearest even) where the processor has dot products for it, else float32.
    Bf16,
}

impl Isa {
    /// Every instruction set, the widest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The best that this processor has.
    pub fn detect() -> Self {
        Self::ALL
            .into_iter()
            .find(|isa| isa.available())
            .unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            Self::Portable => true,
            #[allow(unreachable_patterns, reason = "which arms stand above depends on the target")]
            _ => false,
        }
    }

    /// Whether products of bf16 have an instruction of their own.
    pub fn has_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 {
            return self.available() && std::arch::is_x86_feature_detected!("avx512bf16");
        }
        false
    }

    /// What is multiplied faster: bf16 where it has an instruction of its own that is worth it.
    ///
    /// Intel's cores take two cycles for a dot product of bf16 vectors, in which they do four float32 multiply-adds of as
    /// many lanes: half the products. (Two cores of an Emerald Rapids server processor: 172 GFLOP/s, and 340 in float32.)
    pub fn fastest_precision(self) -> Precision {
        if self.has_bf16() && !is_by_intel() {
            Precision::Bf16
        } else {
            Precision::F32
        }
    }

    /// Runs a kernel compiled for this instruction set, or the portable one where the processor lacks it.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the features that the function is compiled for.
            Self::Avx512 if self.available() => unsafe { run_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the features that the function is compiled for.
            Self::Avx2 if self.available() => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            // Every 64-bit ARM target has NEON switched on, so that no function of its own is needed.
            Self::Neon => kernel.run::<Fused>(),
            _ => kernel.run::<Portable>(),
        }
    }
}

/// Who made the processor.
fn is_by_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx] == [*b"Genu", *b"ineI", *b"ntel"].map(u32::from_le_bytes)
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        })
    }
}

impl FromStr for Isa {
    type Err = String;

    /// The name that [`Isa`] prints; the error is the text that is none.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.to_string() == name)
            .ok_or_else(|| name.to_owned())
    }
}

/// The arithmetic of one instruction set, for bodies of code that are generic over it.
pub(crate) trait Arithmetic: Copy + 'static {
    /// `a · b + c`: rounded once where the instruction set has it, twice elsewhere.
    ///
    /// Rust never fuses by itself, so a loop gives the same bytes in its vector body and in its tail.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// A body of code to compile for every instruction set. `run` and all it calls must be `#[inline(always)]`.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// The body.
    fn run<A: Arithmetic>(self) -> Self::Output;
}

/// Every instruction set with a fused multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Fused;

/// Those without.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Portable {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_there_and_the_best_is_available() {
        assert!(Isa::Portable.available());
        assert!(Isa::detect().available());
        assert!(!(Isa::Neon.available() && Isa::Avx2.available()));
        assert!(!Isa::Portable.has_bf16());
    }

    #[test]
    fn names_are_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert_eq!("sse9".parse::<Isa>(), Err("sse9".to_owned()));
    }

    #[test]
    fn multiply_add_rounds_once_where_fused() {
        struct Square(f32);
        impl Kernel for Square {
            type Output = f32;
            #[inline(always)]
            fn run<A: Arithmetic>(self) -> f32 {
                A::mul_add(self.0, self.0, -self.0 * self.0)
            }
        }
        let x = 1.0 + f32::EPSILON;
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            assert_eq!(isa.run(Square(x)) == 0.0, isa == Isa::Portable, "{isa}");
        }
    }
}
