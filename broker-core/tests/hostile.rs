//! What bytes of a hostile peer cost, as the operating system sees it. The only test of its
//! process.

#![cfg(target_os = "linux")]

#[path = "stored/draw.rs"]
mod draw;

use std::fs;
use std::hint::black_box;

use broker_core::peer::PeerMsg;
use broker_core::peer::frame::Frame;
use broker_core::step::Input;
use draw::Draw;

/// By how much the process's memory, used or not, grows at most during some work.
fn reserved_by(work: impl FnOnce()) -> usize {
    let peak = || -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    let before = peak();
    work();
    peak() - before
}

fn read(bytes: &[u8]) {
    // Most are refused; what matters is what it costs.
    let _ = black_box(postcard::take_from_bytes::<Frame>(bytes));
    let _ = black_box(postcard::take_from_bytes::<PeerMsg>(bytes));
    let _ = black_box(postcard::take_from_bytes::<Input>(bytes));
}

#[test]
fn hostile_bytes_of_few_reserve_no_more_than_few() {
    // More than the process ever had, so that any more is a new peak.
    let ballast = black_box(Vec::<u8>::with_capacity(256 << 20));
    let mut draw = Draw::new(1);
    let reserved = reserved_by(|| {
        for _ in 0..20_000 {
            // What was sent up to somewhere, then a length of 2^28 or more, or anything.
            let input: Input = draw.value().unwrap();
            let mut bytes = postcard::to_allocvec(&input).unwrap();
            if let Input::Peer { msg, .. } = &input {
                bytes = postcard::to_allocvec(msg).unwrap();
            }
            for at in 1..bytes.len().min(16) {
                let mut hostile = bytes[..at].to_vec();
                hostile.extend([0xff, 0xff, 0xff, 0xff, 0x07]);
                read(&hostile);
            }
            let random: Vec<u8> = (0..20).map(|_| draw.below(256) as u8 & 0x3f).collect();
            read(&random);
        }
    });
    assert!(reserved < 128 << 10, "{reserved}");
    // If it did not see this, it would see nothing.
    let seen = reserved_by(|| drop(black_box(Vec::<u8>::with_capacity(1 << 20))));
    assert!(seen >= 1 << 20, "{seen}");
    drop(ballast);
}
