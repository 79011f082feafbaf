//! Glazes that go together, as potters use them.

use super::numbers::{Random, lerp};

/// Colors of one pot, sRGB in 0..=1.
pub(super) struct GlazeColors {
    pub(super) base: [f32; 3],
    pub(super) second: [f32; 3],
    pub(super) band: [f32; 3],
    pub(super) clay: [f32; 3],
}

const ASH_WHITE: u32 = 0xE8_E3_D6;
const PORCELAIN: u32 = 0xF0_F1_EF;
const OATMEAL: u32 = 0xD6_C3_9E;
const CELADON: u32 = 0x9D_B8_A0;
const PALE_CELADON: u32 = 0xC4_D6_C2;
const CHUN_BLUE: u32 = 0x8C_A4_BC;
const COBALT: u32 = 0x2A_41_78;
const TURQUOISE: u32 = 0x4C_97_98;
const COPPER_GREEN: u32 = 0x4A_6F_53;
const TEA_DUST: u32 = 0x6E_6C_34;
const HONEY: u32 = 0xB5_7D_38;
const IRON_RED: u32 = 0x93_3E_28;
const OXBLOOD: u32 = 0x74_22_26;
const TENMOKU: u32 = 0x2B_19_14;
const CHARCOAL: u32 = 0x3A_3B_3F;
const SHINO: u32 = 0xE7_C3_A6;

const RED_CLAY: u32 = 0xA8_62_3E;
const BUFF_CLAY: u32 = 0xC9_A5_7A;
const DARK_CLAY: u32 = 0x6B_47_35;
const WHITE_CLAY: u32 = 0xDF_D2_BE;

/// Base, second, band, clay.
const COMBINATIONS: [[u32; 4]; 16] = [
    [CELADON, PALE_CELADON, TENMOKU, BUFF_CLAY],
    [PORCELAIN, COBALT, COBALT, WHITE_CLAY],
    [ASH_WHITE, IRON_RED, TENMOKU, RED_CLAY],
    [OATMEAL, TENMOKU, IRON_RED, BUFF_CLAY],
    [TENMOKU, HONEY, OATMEAL, DARK_CLAY],
    [COBALT, ASH_WHITE, ASH_WHITE, BUFF_CLAY],
    [IRON_RED, TENMOKU, OATMEAL, RED_CLAY],
    [CHUN_BLUE, OXBLOOD, PORCELAIN, BUFF_CLAY],
    [TURQUOISE, ASH_WHITE, CHARCOAL, RED_CLAY],
    [COPPER_GREEN, OATMEAL, OATMEAL, BUFF_CLAY],
    [HONEY, COPPER_GREEN, TENMOKU, RED_CLAY],
    [SHINO, IRON_RED, CHARCOAL, RED_CLAY],
    [CHARCOAL, TURQUOISE, ASH_WHITE, DARK_CLAY],
    [TEA_DUST, OATMEAL, OATMEAL, DARK_CLAY],
    [ASH_WHITE, CHUN_BLUE, COBALT, BUFF_CLAY],
    [OATMEAL, COPPER_GREEN, COBALT, BUFF_CLAY],
];

/// White porcelain under clear glaze, painted in cobalt.
const PORCELAIN_FAMILY: [[u32; 4]; 3] = [
    [PORCELAIN, COBALT, COBALT, WHITE_CLAY],
    [PALE_CELADON, COBALT, COBALT, WHITE_CLAY],
    [PORCELAIN, CHUN_BLUE, COBALT, WHITE_CLAY],
];

/// Iron glazes on dark clay: black, brown, rust.
const IRON_FAMILY: [[u32; 4]; 3] = [
    [TENMOKU, HONEY, IRON_RED, RED_CLAY],
    [TENMOKU, IRON_RED, HONEY, DARK_CLAY],
    [0x4A_28_1B, HONEY, OATMEAL, RED_CLAY],
];

/// One of the combinations, each color a little off.
pub(super) fn draw(random: &mut Random) -> GlazeColors {
    let combination = COMBINATIONS[random.below(COMBINATIONS.len())];
    let [base, second, band, clay] = combination.map(|hex| vary(rgb(hex), random));
    GlazeColors {
        base,
        second,
        band,
        clay,
    }
}

/// The first style's colors, drawn from a pattern's seed.
pub(super) fn porcelain(seed: u32) -> GlazeColors {
    family(&PORCELAIN_FAMILY, seed)
}

/// The second style's colors, drawn from a pattern's seed.
pub(super) fn iron(seed: u32) -> GlazeColors {
    family(&IRON_FAMILY, seed)
}

fn family(combinations: &[[u32; 4]], seed: u32) -> GlazeColors {
    let mut random = Random::new(u64::from(seed), 0, 0);
    let combination = combinations[random.below(combinations.len())];
    let [base, second, band, clay] = combination.map(|hex| vary(rgb(hex), &mut random));
    GlazeColors {
        base,
        second,
        band,
        clay,
    }
}

fn rgb(hex: u32) -> [f32; 3] {
    [16, 8, 0].map(|shift| ((hex >> shift) & 255) as f32 / 255.0)
}

/// No two firings are alike: a little brighter or darker, warmer or cooler.
fn vary([r, g, b]: [f32; 3], random: &mut Random) -> [f32; 3] {
    let (bright, warm) = (random.bell(0.88, 1.1), random.bell(-0.06, 0.06));
    let gray = (r + g + b) / 3.0;
    let strength = random.bell(-0.12, 0.12);
    [r * (1.0 + warm), g, b * (1.0 - warm)].map(|c| (lerp(c, gray, strength) * bright).clamp(0.0, 1.0))
}
