//! How long things take, as integer quantile tables in microseconds. No float is involved, for
//! floats differ between platforms; which draw picks the quantile is the decider's affair.
//!
//! Each table is a log-normal body mixed with a heavier log-normal tail. Published figures behind
//! the store's: 1 KB put 27.0 / 41.2 ms and get 22.4 / 42.0 ms at p50 / p90 (Tigris benchmark of S3
//! Standard), put of 2-8 MiB 200-400 ms at p99 (Inkless PERFORMANCE.md). The mixture itself, and
//! the network's and device's figures, are our fit.

/// Quantiles 0, 1/32 … 31/32 of a latency, and the last thirty-second cut into 32 again. The ends
/// are the 0.2 % and 99.98 % quantiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantiles {
    body: [u32; 32],
    tail: [u32; 33],
}

impl Quantiles {
    /// The latency at the quantile `bits / 2^32`, in µs.
    #[must_use]
    pub fn at(&self, bits: u32) -> u64 {
        let cell = (bits >> 27) as usize;
        let within = bits << 5;
        if cell == 31 {
            let cell = (within >> 27) as usize;
            return between(self.tail[cell], self.tail[cell + 1], within << 5);
        }
        let upper = if cell == 30 { self.tail[0] } else { self.body[cell + 1] };
        between(self.body[cell], upper, within)
    }
}

/// The value `share / 2^32` of the way from `low` to `high`.
fn between(low: u32, high: u32, share: u32) -> u64 {
    u64::from(low) + ((u64::from(high - low) * u64::from(share)) >> 32)
}

/// One way inside a zone: median 0.2 ms, σ 0.3; 1 % around 1.5 ms, σ 0.8.
pub const SAME_ZONE: Quantiles = Quantiles {
    body: [
        84, 115, 126, 135, 142, 148, 154, 159, 164, 169, 173, 178, 182, 187, 191, 196, 201, 206,
        211, 216, 221, 227, 233, 239, 247, 254, 263, 274, 286, 302, 325, 366,
    ],
    tail: [
        366, 368, 371, 373, 375, 378, 381, 383, 387, 390, 393, 397, 401, 406, 411, 417, 423, 431,
        440, 451, 465, 486, 521, 611, 806, 1024, 1261, 1536, 1873, 2319, 2981, 4227, 7756,
    ],
};

/// One way between zones: median 0.65 ms, σ 0.25; 1 % around 3 ms, σ 0.8.
pub const CROSS_ZONE: Quantiles = Quantiles {
    body: [
        316, 408, 443, 468, 488, 506, 522, 536, 550, 563, 576, 589, 602, 614, 627, 639, 652, 665,
        678, 692, 707, 722, 738, 755, 774, 794, 817, 844, 875, 916, 972, 1073,
    ],
    tail: [
        1073, 1078, 1083, 1089, 1094, 1101, 1107, 1114, 1121, 1128, 1136, 1145, 1154, 1165, 1176,
        1188, 1202, 1218, 1236, 1258, 1285, 1320, 1371, 1456, 1653, 2048, 2522, 3071, 3746, 4639,
        5962, 8454, 15_512,
    ],
};

/// Small put or delete: median 27 ms, σ 0.35 (p90 41 ms); 3 % around 120 ms, σ 0.8.
pub const STORE_PUT: Quantiles = Quantiles {
    body: [
        9878, 14_127, 15_861, 17_117, 18_160, 19_084, 19_932, 20_729, 21_492, 22_232, 22_958,
        23_677, 24_393, 25_114, 25_842, 26_584, 27_345, 28_129, 28_944, 29_796, 30_694, 31_649,
        32_675, 33_790, 35_020, 36_400, 37_985, 39_867, 42_207, 45_354, 50_288, 62_956,
    ],
    tail: [
        62_956, 63_876, 64_894, 66_031, 67_311, 68_771, 70_457, 72_430, 74_769, 77_576, 80_962,
        85_024, 89_809, 95_290, 101_392, 108_045, 115_215, 122_913, 131_191, 140_133, 149_856,
        160_516, 172_319, 185_542, 200_566, 217_938, 238_479, 263_495, 295_248, 338_157, 402_670,
        524_857, 868_948,
    ],
};

/// Small get: median 22 ms, σ 0.5 (p90 42 ms); 3 % around 100 ms, σ 0.8.
pub const STORE_GET: Quantiles = Quantiles {
    body: [
        5241, 8725, 10_293, 11_476, 12_489, 13_405, 14_264, 15_085, 15_885, 16_672, 17_454, 18_239,
        19_033, 19_840, 20_667, 21_520, 22_404, 23_327, 24_297, 25_323, 26_419, 27_598, 28_882,
        30_295, 31_875, 33_675, 35_773, 38_303, 41_503, 45_873, 52_773, 68_900,
    ],
    tail: [
        68_900, 69_886, 70_939, 72_069, 73_286, 74_601, 76_029, 77_587, 79_295, 81_177, 83_264,
        85_590, 88_198, 91_139, 94_471, 98_261, 102_583, 107_517, 113_144, 119_550, 126_828,
        135_086, 144_465, 155_163, 167_466, 181_802, 198_832, 219_627, 246_061, 281_804, 335_560,
        437_381, 724_123,
    ],
};

/// List page: median 40 ms, σ 0.4; 3 % around 150 ms, σ 0.8.
pub const STORE_LIST: Quantiles = Quantiles {
    body: [
        12_674, 19_075, 21_773, 23_754, 25_416, 26_898, 28_268, 29_563, 30_809, 32_024, 33_221,
        34_411, 35_603, 36_806, 38_027, 39_276, 40_561, 41_891, 43_277, 44_733, 46_273, 47_917,
        49_689, 51_622, 53_762, 56_172, 58_951, 62_258, 66_380, 71_914, 80_478, 100_273,
    ],
    tail: [
        100_273, 101_506, 102_830, 104_260, 105_811, 107_503, 109_359, 111_408, 113_689, 116_247,
        119_139, 122_439, 126_236, 130_639, 135_770, 141_760, 148_731, 156_780, 165_973, 176_360,
        188_006, 201_021, 215_595, 232_023, 250_751, 272_441, 298_105, 329_370, 369_061, 422_696,
        503_337, 656_071, 1_086_185,
    ],
};

/// Sync of a network block device: median 0.9 ms, σ 0.4; 1 % around 8 ms, σ 0.7.
pub const DEVICE_SYNC: Quantiles = Quantiles {
    body: [
        285, 428, 488, 532, 569, 602, 633, 662, 689, 716, 743, 769, 795, 822, 849, 876, 905, 934,
        964, 996, 1029, 1065, 1103, 1144, 1190, 1241, 1299, 1368, 1451, 1559, 1717, 2019,
    ],
    tail: [
        2019, 2034, 2051, 2068, 2086, 2105, 2125, 2147, 2170, 2195, 2222, 2251, 2282, 2317, 2356,
        2400, 2450, 2509, 2579, 2666, 2781, 2944, 3212, 3745, 4667, 5728, 6872, 8166, 9716, 11_714,
        14_591, 19_805, 33_685,
    ],
};

/// Bytes a store moves per second in one request, added to the latency of small objects. With it a
/// put of 8 MiB takes 100 ms longer, as Inkless measured.
pub const STORE_BYTES_PER_S: u64 = 80_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, Quantiles); 6] = [
        ("same zone", SAME_ZONE),
        ("cross zone", CROSS_ZONE),
        ("put", STORE_PUT),
        ("get", STORE_GET),
        ("list", STORE_LIST),
        ("sync", DEVICE_SYNC),
    ];

    #[test]
    fn latency_quantiles_rise_without_a_step_back() {
        for (name, table) in ALL {
            let mut last = 0;
            for step in 0..=4_096_u32 {
                let here = table.at(step.saturating_mul(1 << 20));
                assert!(here >= last, "{name}: {here} after {last} at {step}");
                last = here;
            }
        }
    }

    #[test]
    fn latency_table_gives_the_published_medians() {
        for (name, table, low, high) in [
            ("put p50", STORE_PUT.at(1 << 31), 26_500, 28_000),
            ("put p90", STORE_PUT.at(3_865_470_566), 41_000, 46_000),
            ("get p50", STORE_GET.at(1 << 31), 21_500, 23_000),
            ("get p90", STORE_GET.at(3_865_470_566), 42_000, 46_000),
            ("put p99.9", STORE_PUT.at(4_290_672_328), 300_000, 900_000),
        ] {
            assert!((low..=high).contains(&table), "{name}: {table}");
        }
    }
}
