//! The same bytes, read and written by another implementation: `kafka-protocol`, generated from
//! Kafka's schemas. It is given only what was written here: hostile bytes abort it (ADR 0013).

use bytes::BytesMut;
use kafka_protocol::messages::{
    ApiKey as TheirKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::*;

const SAMPLES: u64 = 100;

fn theirs(key: ApiKey) -> TheirKey {
    TheirKey::try_from(key as i16).unwrap()
}

fn is_theirs(key: ApiKey, version: i16) -> bool {
    let range = theirs(key).valid_versions();
    (range.min..=range.max).contains(&version)
}

#[test]
fn all_versions_but_three_are_compared() {
    let ours_alone = calls().filter(|(key, version)| !is_theirs(*key, *version));
    // Kafka 4 does not have them either, but tells clients so: KAFKA-18659.
    let expected = [0, 1, 2].map(|version| (ApiKey::Produce, version));
    assert_eq!(ours_alone.collect::<Vec<_>>(), expected);
}

/// A request that was written here, as they read it: all of it.
fn their_request(frame: &Bytes, key: ApiKey, version: i16) -> (RequestHeader, RequestKind) {
    let (mut rest, header) = (frame.slice(4..), theirs(key).request_header_version(version));
    let header = RequestHeader::decode(&mut rest, header).unwrap();
    let request = RequestKind::decode(theirs(key), &mut rest, version).unwrap();
    assert!(rest.is_empty(), "{request:?}");
    (header, request)
}

/// An answer that was written here, as they read it: all of it.
fn their_response(frame: &Bytes, key: ApiKey, version: i16) -> (ResponseHeader, ResponseKind) {
    let (mut rest, header) = (frame.slice(4..), theirs(key).response_header_version(version));
    let header = ResponseHeader::decode(&mut rest, header).unwrap();
    let response = ResponseKind::decode(theirs(key), &mut rest, version).unwrap();
    assert!(rest.is_empty(), "{response:?}");
    (header, response)
}

/// The fields of a message as it is printed, in order, with the value of those that are numbers or
/// truths. Bytes alone do not tell whether two numbers are in each other's place.
fn fields(message: &impl fmt::Debug) -> Vec<(String, Option<String>)> {
    let printed = format!("{message:?}");
    let parts = printed.split([',', '{', '[']).filter_map(|part| part.split_once(": "));
    let plain =
        |name: &str| name.bytes().all(|it| it.is_ascii_lowercase() || b"_0123456789".contains(&it));
    let parts = parts.filter(|(name, _)| plain(name.trim()));
    let value = |value: &str| {
        // A number may be of a type of its own.
        let inner = value.rsplit('(').next().unwrap().trim_end_matches([' ', '}', ']', ')']);
        let counts = inner.parse::<i64>().is_ok() || inner.parse::<bool>().is_ok();
        (counts && !value.starts_with("Uuid")).then(|| inner.to_owned())
    };
    parts.map(|(name, it)| (name.trim().to_owned(), value(it))).collect()
}

/// All fields of ours are among theirs, in the same order and of the same value.
fn assert_same_fields(ours: &impl fmt::Debug, theirs: &impl fmt::Debug) {
    let found = fields(theirs);
    let mut found = found.iter();
    for field in fields(ours) {
        assert!(found.any(|it| *it == field), "{field:?} of {ours:?} in {theirs:?}");
    }
}

#[test]
fn requests_are_the_same_to_kafka_protocol() {
    for (key, version) in calls().filter(|(key, version)| is_theirs(*key, *version)) {
        for seed in 0..SAMPLES {
            let (header, request) = sample_request(seed, key, version);
            let at = format!("{header:?} {request:?}");
            let ours = write_request(&header, &request);
            let (their_header, their_request) = their_request(&ours, key, version);
            assert_eq!(their_header.correlation_id, header.correlation, "{at}");
            assert_same_fields(&request, &their_request);

            let mut again = BytesMut::new();
            their_header.encode(&mut again, theirs(key).request_header_version(version)).unwrap();
            their_request.encode(&mut again, version).unwrap();
            assert_eq!(again, ours[4..], "{at}");
            assert_eq!(read_request(again.freeze()), Ok((header, request)), "{at}");
        }
    }
}

#[test]
fn answers_are_the_same_to_kafka_protocol() {
    for (key, version) in calls().filter(|(key, version)| is_theirs(*key, *version)) {
        for seed in 0..SAMPLES {
            let (header, response) = sample_response(seed, key, version);
            let at = format!("{header:?} {response:?}");
            let ours = write_response(&header, &response);
            let (their_header, their_response) = their_response(&ours, key, version);
            assert_eq!(their_header.correlation_id, header.correlation, "{at}");
            assert_same_fields(&response, &their_response);

            let mut again = BytesMut::new();
            their_header.encode(&mut again, theirs(key).response_header_version(version)).unwrap();
            their_response.encode(&mut again, version).unwrap();
            assert_eq!(again, ours[4..], "{at}");
            let read = read_response(&header, again.freeze());
            assert_eq!(read, Ok((header.correlation, response)), "{at}");
        }
    }
}

/// A message of an old version, read and then written in the newest one, shows the defaults of the
/// fields that the old one lacks. It can not be, if it has a field that the newest one lacks.
#[test]
fn defaults_are_the_same_to_kafka_protocol() {
    let (mut requests, mut answers) = (0, 0);
    for (key, version) in calls().filter(|(key, version)| is_theirs(*key, *version)) {
        let (_, newest) = key.versions();
        for seed in 0..SAMPLES {
            let (header, request) = sample_request(seed, key, version);
            let frame = write_request(&header, &request);
            let mut upgraded = BytesMut::new();
            if their_request(&frame, key, version).1.encode(&mut upgraded, newest).is_ok() {
                let (header, request) = read_request(frame.slice(4..)).unwrap();
                let ours = write_request(&Header { version: newest, ..header }, &request);
                assert!(ours.ends_with(&upgraded), "{key:?} {version} {request:?}");
                requests += 1;
            }

            let (header, response) = sample_response(seed, key, version);
            let frame = write_response(&header, &response);
            let mut upgraded = BytesMut::new();
            if their_response(&frame, key, version).1.encode(&mut upgraded, newest).is_ok() {
                let (_, response) = read_response(&header, frame.slice(4..)).unwrap();
                let ours = write_response(&Header { version: newest, ..header }, &response);
                assert!(ours.ends_with(&upgraded), "{key:?} {version} {response:?}");
                answers += 1;
            }
        }
    }
    assert!(requests > 10_000 && answers > 10_000, "{requests} {answers}");
}

#[test]
fn headers_have_their_versions() {
    for (key, version) in calls() {
        // Request headers have tagged fields from version 2 on, headers of answers from 1.
        let flexible = theirs(key).request_header_version(version) == 2;
        assert_eq!(key.is_flexible(version), flexible, "{key:?} {version}");
        let flexible = theirs(key).response_header_version(version) == 1;
        assert_eq!(key.has_flexible_answer_header(version), flexible, "{key:?} {version}");
    }
    let (oldest, newest) = ApiKey::ApiVersions.versions();
    for version in oldest..=newest {
        let header = Header { key: ApiKey::ApiVersions, version, correlation: 7, client: None };
        let body = messages::cluster::api_versions::Response { error_code: 35, ..<_>::default() };
        let frame = write_response(&header, &Response::ApiVersions(body));
        assert_eq!(frame[4..10], [0, 0, 0, 7, 0, 35], "version {version}");
    }
}
