//! What the worst frames cost, as the operating system sees it. The only test of its process.

#![cfg(target_os = "linux")]

use std::fs;

use broker::wire::codec::{MEMORY_MAX, Why};
use broker::wire::{ApiKey, BadRequest, FRAME_BYTES_MAX, Request, read_request};

/// The most memory that the process takes for some work, above what it has. The kernel counts to
/// within a few pages.
fn peak_of(work: impl FnOnce()) -> usize {
    let status = |field: &str| -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    work();
    status("VmHWM:").saturating_sub(before)
}

/// A `DescribeGroups` of the newest version, that names groups: one name, many times.
fn describe_groups(count: usize, name: &[u8]) -> Vec<u8> {
    let mut frame = [0, 15, 0, 5, 0, 0, 0, 7, 0xff, 0xff, 0].to_vec();
    let mut length = count + 1;
    while length > 0x7f {
        frame.push(0x80 | length.to_le_bytes()[0]);
        length >>= 7;
    }
    frame.push(length.to_le_bytes()[0]);
    frame.extend(name.repeat(count));
    frame.extend([0, 0]);
    frame
}

#[test]
fn the_worst_frames_take_as_much_as_is_documented() {
    let most = MEMORY_MAX / (size_of::<String>() + 1);
    let frame = describe_groups(most, &[2, b'x']).into();
    let peak = peak_of(|| match read_request(frame) {
        Ok((_, Request::DescribeGroups(request))) => assert_eq!(request.groups.len(), most),
        other => panic!("{:?}", other.map(|(header, _)| header)),
    });
    // If it were much less, this test would not see what it is for.
    assert!((40 << 20..80 << 20).contains(&peak), "{peak}");

    let frame = describe_groups(FRAME_BYTES_MAX, &[1]).into();
    let peak = peak_of(|| match read_request(frame) {
        Err(BadRequest::Malformed { call, malformed }) => {
            assert_eq!(call, Some((ApiKey::DescribeGroups, 5)));
            assert_eq!((malformed.why, malformed.field), (Why::Memory, Some("groups")));
        }
        other => panic!("{:?}", other.map(|(header, _)| header)),
    });
    assert!(peak < 1 << 20, "{peak}");
}
