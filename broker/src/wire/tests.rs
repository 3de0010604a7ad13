//! Frames of real clients, read and written again; frames that another implementation reads; frames
//! of nobody honest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::codec::Why;
use super::*;
use sample::{Draw, Sample};

mod differential;
mod hostile;
pub(crate) mod sample;

/// Every call in every version.
fn calls() -> impl Iterator<Item = (ApiKey, i16)> {
    ApiKey::ALL.iter().flat_map(|key| {
        let (oldest, newest) = key.versions();
        (oldest..=newest).map(|version| (*key, version))
    })
}

fn is_spoken(key: ApiKey, version: i16) -> bool {
    calls().any(|call| call == (key, version))
}

fn sample_header(draw: &mut Draw, key: ApiKey) -> Header {
    Header { key, version: draw.version, correlation: <_>::sample(draw), client: <_>::sample(draw) }
}

fn sample_request(seed: u64, key: ApiKey, version: i16) -> (Header, Request) {
    let mut draw = Draw::new(seed, version);
    (sample_header(&mut draw, key), Request::sample(key, &mut draw))
}

fn sample_response(seed: u64, key: ApiKey, version: i16) -> (Header, Response) {
    let mut draw = Draw::new(seed, version);
    (sample_header(&mut draw, key), Response::sample(key, &mut draw))
}

/// One frame that went between a client and a broker.
struct Captured {
    file: String,
    is_response: bool,
    key: i16,
    version: i16,
    bytes: Bytes,
}

fn captured() -> Vec<Captured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames");
    let mut frames = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|it| it != "bin") {
            continue;
        }
        let mut rest = Bytes::from(fs::read(&path).unwrap());
        while !rest.is_empty() {
            let mut head = Reader::new(rest.clone(), 0, false);
            let direction = i8::read(&mut head).unwrap();
            let (key, version) = (i16::read(&mut head).unwrap(), i16::read(&mut head).unwrap());
            let len = usize::try_from(i32::read(&mut head).unwrap()).unwrap();
            let bytes = rest.slice(9..9 + len);
            rest = rest.slice(9 + len..);
            frames.push(Captured {
                file: file.clone(),
                is_response: direction == 1,
                key,
                version,
                bytes,
            });
        }
    }
    frames
}

#[test]
fn frames_of_real_clients_are_written_back_byte_for_byte() {
    let mut same = 0;
    let mut others: BTreeMap<(i16, i16), usize> = BTreeMap::new();
    for Captured { file, is_response, key: number, version, bytes } in captured() {
        let Some(key) = ApiKey::of(number).filter(|key| is_spoken(*key, version)) else {
            *others.entry((number, version)).or_default() += 1;
            continue;
        };
        let at = format!("{file}: {key:?} version {version}, response: {is_response}");
        let written = if is_response {
            let header = Header { key, version, correlation: 0, client: None };
            let read = read_response(&header, bytes.clone());
            let (correlation, response) = read.unwrap_or_else(|e| panic!("{at}: {e}"));
            write_response(&Header { correlation, ..header }, &response)
        } else {
            let read = read_request(bytes.clone());
            let (header, request) = read.unwrap_or_else(|e| panic!("{at}: {e}"));
            write_request(&header, &request)
        };
        assert_eq!(written[4..], bytes[..], "{at}");
        same += 1;
    }
    // Metadata 13, ListOffsets 10, DeleteRecords and telemetry are not spoken here.
    let others_expected =
        [((2, 10), 12), ((3, 13), 106), ((21, 2), 2), ((71, 0), 26), ((72, 0), 26)];
    assert_eq!(others, BTreeMap::from(others_expected));
    assert_eq!(same, 788);
}
