//! Frames of nobody honest: each is refused, or read as what it would be written as.

use super::*;

/// A frame of these parts.
fn frame(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

/// A request's header: no client is named.
fn head(key: ApiKey, version: i16) -> Vec<u8> {
    let tags: &[u8] = if key.is_flexible(version) { &[0] } else { &[] };
    let number = key as i16;
    [&number.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7], &[0xff; 2], tags].concat()
}

fn refused(frame: Bytes) -> (Why, Option<&'static str>) {
    match read_request(frame) {
        Err(BadRequest::Malformed { malformed: Malformed { why, field }, .. }) => (why, field),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_array_of_more_elements_than_bytes_costs_nothing() {
    let frame = frame(&[&head(ApiKey::Metadata, 1), &i32::MAX.to_be_bytes()]);
    assert_eq!(frame.len(), 14);
    assert_eq!(refused(frame), (Why::Length, Some("topics")));
}

#[test]
fn every_reason_is_given() {
    use ApiKey::{ApiVersions, DescribeGroups, FindCoordinator, JoinGroup, Metadata, Produce};
    let head = |key, version| head(key, version);
    let long = [b"\x81\x80\x02", &[b'x'; 0x8000][..]].concat();
    // 2,000,000 topics without a name, that would take 48 bytes each.
    let many = [b"\x81\x89\x7a", &[1, 0].repeat(2_000_000)[..]].concat();
    // 2,000 names of 20,000 bytes each.
    let name = [b"\xa1\x9c\x01", &[b'x'; 20_000][..]].concat();
    let names = [&b"\xd1\x0f"[..], &name.repeat(2_000)].concat();
    // One member, that says 40,000,000 bytes of itself.
    let metadata = [&40_000_000_i32.to_be_bytes()[..], &vec![0; 40_000_000]].concat();
    let metadata = [&[0; 10][..], &[0, 0, 0, 1, 0, 0], &metadata].concat();
    let cases: &[(Bytes, Why, Option<&str>)] = &[
        (frame(&[&[0, 3, 0, 1, 0]]), Why::Truncated, None),
        (frame(&[&head(FindCoordinator, 0), &[0, 9, b'g']]), Why::Truncated, Some("key")),
        // Two bytes of another tagged field, of which one is there.
        (frame(&[&head(ApiVersions, 3), &[1, 1, 1, 9, 2, 0]]), Why::Truncated, None),
        (frame(&[&head(FindCoordinator, 0), &[0xff, 0xfe]]), Why::Length, Some("key")),
        (frame(&[&head(FindCoordinator, 3), &long]), Why::Length, Some("key")),
        (frame(&[&head(Metadata, 9), &[0xff, 0xff, 0xff, 0xff, 0xf]]), Why::Length, Some("topics")),
        (frame(&[&head(Metadata, 9), &many]), Why::Memory, Some("topics")),
        (frame(&[&head(FindCoordinator, 4), &[0], &names]), Why::Memory, Some("coordinator_keys")),
        (frame(&[&head(JoinGroup, 0), &metadata]), Why::Memory, Some("metadata")),
        (
            frame(&[&head(Metadata, 9), &[0xff, 0xff, 0xff, 0xff, 0x1f]]),
            Why::Varint,
            Some("topics"),
        ),
        (frame(&[&head(Metadata, 9), &[0x80; 6]]), Why::Varint, Some("topics")),
        (frame(&[&head(FindCoordinator, 0), &[0, 1, 0xff]]), Why::Utf8, Some("key")),
        (frame(&[&head(FindCoordinator, 0), &[0xff, 0xff]]), Why::Null, Some("key")),
        (frame(&[&head(DescribeGroups, 5), &[0]]), Why::Null, Some("groups")),
        // Null names all topics, but not in the first version.
        (frame(&[&head(Metadata, 0), &[0xff; 4]]), Why::Null, Some("topics")),
        (
            frame(&[&head(Produce, 3), &[0xff; 2], &[0; 6], &[0xff; 4]]),
            Why::Null,
            Some("topic_data"),
        ),
        (frame(&[&head(ApiVersions, 3), &[1, 1, 2, 5, 0, 5, 0]]), Why::TagOrder, None),
        (frame(&[&head(ApiVersions, 3), &[1, 1, 2, 5, 0, 4, 0]]), Why::TagOrder, None),
        // A cluster's id, null, and a byte behind it.
        (
            frame(&[&head(ApiKey::Fetch, 12), &[0; 25], &[1, 1, 1, 1, 0, 2, 0, 0]]),
            Why::TagSize,
            None,
        ),
    ];
    for (frame, why, field) in cases {
        assert_eq!(refused(frame.clone()), (*why, *field), "{:x?}", &frame[..frame.len().min(40)]);
    }
    use Why::{Length, Memory, Null, TagOrder, TagSize, Truncated, Utf8, Varint};
    for why in [Truncated, Length, Memory, Varint, Utf8, Null, TagSize, TagOrder] {
        assert!(cases.iter().any(|case| case.1 == why), "{why:?}");
    }
}

#[test]
fn unknown_calls_and_versions_are_told_apart() {
    for number in [-1, 4, 7, 21, 1000, i16::MIN, i16::MAX] {
        let frame = frame(&[&number.to_be_bytes(), &[0; 30]]);
        assert_eq!(read_request(frame), Err(BadRequest::UnknownCall { key: number }));
    }
    for key in ApiKey::ALL.iter().copied() {
        let (oldest, newest) = key.versions();
        for version in [oldest - 1, newest + 1, i16::MIN, i16::MAX] {
            // Whatever is behind the number that is given back.
            let frame = frame(&[&head(key, version)[..8]]);
            let expected = BadRequest::UnsupportedVersion { key, version, correlation: 7 };
            assert_eq!(read_request(frame), Err(expected));
        }
    }
}

#[test]
fn bytes_behind_a_request_and_tags_of_tomorrow_are_ignored() {
    for (key, version) in calls() {
        let (header, request) = sample_request(0, key, version);
        let written = write_request(&header, &request).slice(4..);
        let read = read_request(frame(&[&written, &[0; 3]]));
        assert_eq!(read, Ok((header.clone(), request.clone())), "{key:?} {version}");
        // The body ends with the number of its tagged fields. Only a fetch has any that we know.
        if key.is_flexible(version) && key != ApiKey::Fetch {
            let (number, fields) = written.split_last().unwrap();
            assert_eq!(*number, 0, "{key:?} {version}");
            let read = read_request(frame(&[fields, &[1, 99, 2, 1, 2]]));
            assert_eq!(read, Ok((header, request)), "{key:?} {version}");
        }
    }
}

#[test]
fn a_batch_is_shared_with_its_frame_and_what_a_group_keeps_is_not() {
    use messages::{groups::join_group, records::produce};
    let header = |key| Header { key, version: 5, correlation: 0, client: None };
    let batch = Bytes::from_static(b"batch");

    let partition = produce::PartitionProduceData { index: 0, records: Some(batch.clone()) };
    let name = "topic".to_owned();
    let topic = produce::TopicProduceData {
        name: name.clone(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = produce::Request { topic_data: vec![topic], ..<_>::default() };
    let frame = write_request(&header(ApiKey::Produce), &Request::Produce(request));
    let Ok((_, Request::Produce(read))) = read_request(frame.slice(4..)) else { panic!() };
    let records = read.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(records, batch);
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));

    let protocol = join_group::JoinGroupRequestProtocol { name, metadata: batch.clone() };
    let request = join_group::Request { protocols: vec![protocol], ..<_>::default() };
    let frame = write_request(&header(ApiKey::JoinGroup), &Request::JoinGroup(request));
    let Ok((_, Request::JoinGroup(read))) = read_request(frame.slice(4..)) else { panic!() };
    assert_eq!(read.protocols[0].metadata, batch);
    assert!(!frame.as_ptr_range().contains(&read.protocols[0].metadata.as_ptr()));
}

#[test]
fn what_can_not_be_written_in_a_version_is_written_as_near_as_can_be() {
    use messages::groups::join_group;
    let written = |version, response: &join_group::Response| {
        let header = Header { key: ApiKey::JoinGroup, version, correlation: 0, client: None };
        let frame = write_response(&header, &Response::JoinGroup(response.clone()));
        match read_response(&header, frame.slice(4..)) {
            Ok((0, Response::JoinGroup(read))) => read,
            other => panic!("{other:?}"),
        }
    };
    // No null before version 7.
    let response = join_group::Response { protocol_name: None, ..<_>::default() };
    assert_eq!(written(6, &response).protocol_name, Some(String::new()));
    assert_eq!(written(7, &response).protocol_name, None);

    // A string too long is cut, between two characters.
    let leader = "ü".repeat(20_000);
    let response = join_group::Response { leader: leader.clone(), ..<_>::default() };
    for version in [5, 6] {
        assert_eq!(written(version, &response).leader, leader[..32_766]);
    }
}

/// A frame, of which side it is, and the header that its answer is read with.
struct Seed {
    is_response: bool,
    header: Header,
    bytes: Bytes,
}

/// Frames to break: those of real clients, and some of every call and version.
fn seeds(samples: u64) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for Captured { is_response, key, version, bytes, .. } in captured() {
        let Some(key) = ApiKey::of(key).filter(|key| is_spoken(*key, version)) else { continue };
        let header = Header { key, version, correlation: 0, client: None };
        seeds.push(Seed { is_response, header, bytes });
    }
    for (key, version) in calls() {
        for seed in 0..samples {
            let (header, request) = sample_request(seed, key, version);
            let bytes = write_request(&header, &request).slice(4..);
            seeds.push(Seed { is_response: false, header, bytes });
            let (header, response) = sample_response(seed, key, version);
            let bytes = write_response(&header, &response).slice(4..);
            seeds.push(Seed { is_response: true, header, bytes });
        }
    }
    seeds
}

#[test]
fn a_frame_that_is_cut_is_refused() {
    for Seed { is_response, header, bytes } in seeds(1) {
        // Of long ones, every length near the start, and some of the others.
        for len in (0..bytes.len()).filter(|len| *len < 2000 || len % 97 == 0) {
            let cut = bytes.slice(..len);
            let why = if is_response {
                read_response(&header, cut).unwrap_err().why
            } else {
                refused(cut).0
            };
            let at = format!("{header:?} {is_response}, {len} of {}", bytes.len());
            assert!(matches!(why, Why::Truncated | Why::Length), "{at}: {why:?}");
        }
    }
}

/// Breaks a frame at some place.
fn broken(bytes: &mut Vec<u8>, draw: &mut Draw, other: &[u8]) {
    const LENGTHS: [i64; 10] =
        [0, -1, -2, 1, 0x7f, 0x80, 0x7fff, 0x8000, i32::MAX as i64, i32::MIN as i64];
    const COMPACT: [&[u8]; 5] =
        [&[0], &[0xff, 0x7f], &[0x80, 0x80, 2], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0xf]];
    let at = draw.below(bytes.len());
    match draw.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << draw.below(8),
        1 if at < bytes.len() => bytes[at] = draw.next().to_le_bytes()[0],
        2 => {
            let len = draw.below(9);
            bytes.splice(at..at, draw.bytes(len)).for_each(drop);
        }
        3 => drop(bytes.drain(at..(at + draw.below(9)).min(bytes.len()))),
        4 => {
            let length = LENGTHS[draw.below(LENGTHS.len())].to_be_bytes();
            let width = 1 << draw.below(4);
            let behind = (at + width).min(bytes.len());
            bytes.splice(at..behind, length[8 - width..].iter().copied()).for_each(drop);
        }
        5 => {
            let compact = COMPACT[draw.below(COMPACT.len())];
            let behind = (at + draw.below(2)).min(bytes.len());
            bytes.splice(at..behind, compact.iter().copied()).for_each(drop);
        }
        6 => bytes.truncate(at),
        // The end of another frame.
        _ => bytes.splice(at.., other[draw.below(other.len())..].iter().copied()).for_each(drop),
    }
}

/// Breaks `rounds` frames. What is read all the same must be written and read as the same.
fn fuzz(seed: u64, rounds: usize) {
    let seeds = seeds(2);
    let mut draw = Draw::new(seed, 0);
    let (mut read, mut refused) = (0, Vec::new());
    for round in 0..rounds {
        let Seed { is_response, header, bytes } = &seeds[draw.below(seeds.len())];
        let mut bytes = bytes.to_vec();
        for _ in 0..=draw.below(3) {
            let other = draw.below(seeds.len());
            broken(&mut bytes, &mut draw, &seeds[other].bytes);
        }
        let why = if *is_response {
            match read_response(header, bytes.into()) {
                Ok((correlation, response)) => {
                    let header = Header { correlation, ..header.clone() };
                    let again = write_response(&header, &response).slice(4..);
                    let value = Ok((correlation, response));
                    assert_eq!(read_response(&header, again), value, "{seed} {round}");
                    None
                }
                Err(malformed) => Some(malformed.why),
            }
        } else {
            match read_request(bytes.into()) {
                Ok((header, request)) => {
                    let again = write_request(&header, &request).slice(4..);
                    assert_eq!(read_request(again), Ok((header, request)), "{seed} {round}");
                    None
                }
                Err(BadRequest::Malformed { malformed, .. }) => Some(malformed.why),
                Err(BadRequest::UnknownCall { .. } | BadRequest::UnsupportedVersion { .. }) => {
                    continue;
                }
            }
        };
        read += usize::from(why.is_none());
        refused.extend(why.filter(|why| !refused.contains(why)));
    }
    // Breaking does break, but not everything.
    assert!(read > rounds / 20, "{read} of {rounds}");
    use Why::{Length, Null, TagOrder, TagSize, Truncated, Utf8, Varint};
    for why in [Truncated, Length, Varint, Utf8, Null, TagSize, TagOrder] {
        assert!(refused.contains(&why), "{why:?} is not among {refused:?}");
    }
}

#[test]
fn broken_frames_are_refused_or_read_as_what_they_say() {
    fuzz(1, 1_000_000);
}

#[test]
#[ignore = "runs for minutes: the nightly run of the test above"]
fn broken_frames_are_refused_or_read_as_what_they_say_for_long() {
    (2..200).for_each(|seed| fuzz(seed, 1_000_000));
}
