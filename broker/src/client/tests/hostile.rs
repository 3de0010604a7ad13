//! Answers of nobody honest.

use super::*;
use crate::wire::tests::sample::Draw;

#[test]
fn dialog_answer_to_another_request_or_to_none_is_broken() {
    let mut rig = Rig::speaking(&[]);
    let request = Request::DescribeConfigs { topic: "orders".to_owned() };
    let sent = rig.say(1, &request).unwrap();
    let (.., frame) = rig.answer(&sent, &Response::DescribeConfigs(Ok(Vec::new())));
    let mut other = frame.to_vec();
    other[3] ^= 1;
    let told = rig.dialog.frame(&mut rig.directory, Bytes::from(other));
    assert!(matches!(told, Err(Broken::Correlation { .. })), "{told:?}");
    let told = rig.dialog.frame(&mut rig.directory, frame);
    assert!(matches!(told, Err(Broken::Unasked)), "{told:?}");
}

#[test]
fn dialog_answer_about_another_partition_is_broken() {
    let mut rig = Rig::speaking(&[]);
    let sent = rig.say(1, &samples::produce(core::Acks::All, None)).unwrap();
    let (header, _) = wire::read_request(unframed(&sent)).unwrap();
    let response = wire::messages::records::produce::Response {
        responses: vec![wire::messages::records::produce::TopicProduceResponse {
            name: "orders".to_owned(),
            partition_responses: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let told = rig.hear(&header, &wire::Response::Produce(response));
    assert!(matches!(told, Err(Broken::OtherPartition)), "{told:?}");
}

/// Cut, or some bytes changed, or a number in it replaced by one that is often too much.
fn broken(draw: &mut Draw, frame: &Bytes) -> Bytes {
    let mut bytes = frame.to_vec();
    if draw.below(4) == 0 {
        bytes.truncate(draw.below(bytes.len()));
    }
    // The correlation id stays right, or nothing else would be looked at.
    let room = bytes.len().saturating_sub(4);
    for _ in 0..=draw.below(3) {
        if room == 0 {
            break;
        }
        let at = 4 + draw.below(room);
        match draw.below(3) {
            0 => bytes[at] = draw.next().to_le_bytes()[0],
            1 => bytes[at] ^= 1 << draw.below(8),
            _ => {
                let lies = [i32::MAX, i32::MIN, -1, -2, 1 << 20, 0];
                let lie = lies[draw.below(lies.len())].to_be_bytes();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
            }
        }
    }
    Bytes::from(bytes)
}

#[test]
fn dialog_takes_no_harm_from_300_000_broken_answers() {
    let mut draw = Draw::new(1, 0);
    let (mut told, mut refused) = (0_u32, 0_u32);
    let samples = samples();
    let each = 300_000 / samples.len();
    for Sample { request, answer, key, exact } in samples {
        let newest = exact[exact.len() - 1];
        let mut rig = Rig::speaking(&[(key, (0, newest))]);
        for _ in 0..each {
            let sent = rig.say(1, &request).unwrap();
            let (.., frame) = rig.answer(&sent, &answer);
            let mut directory = rig.directory.clone();
            match rig.dialog.frame(&mut directory, broken(&mut draw, &frame)) {
                Ok(acts) => {
                    assert!(matches!(acts[..], [Act::Answer { corr: 1, .. }]), "{acts:?}");
                    told += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(told > 50_000 && refused > 50_000, "{told} told, {refused} refused");
}

#[test]
fn dialog_broken_versions_are_no_versions() {
    let mut draw = Draw::new(2, 0);
    for _ in 0..20_000 {
        let (mut dialog, hello) = Dialog::hello(CLIENT);
        let (header, _) = wire::read_request(unframed(&hello)).unwrap();
        let told = wire::Response::ApiVersions(old::all_versions());
        let frame = unframed(&wire::write_response(&header, &told));
        let mut directory = Directory::default();
        if dialog.frame(&mut directory, broken(&mut draw, &frame)).is_ok() {
            let acts = dialog.request(&directory, 1, Request::Metadata { topics: None });
            assert!(acts.len() <= 1, "{acts:?}");
        }
    }
}
