//! The same bytes, read and written by another implementation: `kafka-protocol`, generated from
//! Kafka's schemas. It is given nothing but what was written here: hostile bytes abort it (ADR 0013).

use bytes::BytesMut;
use kafka_protocol::messages::{
    ApiKey as TheirKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::*;

const SAMPLES: u64 = 40;

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
    // Older than any broker of today; clients look for their numbers, but do not send them.
    let expected = [0, 1, 2].map(|version| (ApiKey::Produce, version));
    assert_eq!(ours_alone.collect::<Vec<_>>(), expected);
}

#[test]
fn requests_are_the_same_to_kafka_protocol() {
    for (key, version) in calls().filter(|(key, version)| is_theirs(*key, *version)) {
        let header_version = theirs(key).request_header_version(version);
        for seed in 0..SAMPLES {
            let (header, request) = sample_request(seed, key, version);
            let at = format!("{header:?} {request:?}");
            let ours = write_request(&header, &request).slice(4..);

            let mut rest = ours.clone();
            let their_header = RequestHeader::decode(&mut rest, header_version).expect(&at);
            let their_request = RequestKind::decode(theirs(key), &mut rest, version).expect(&at);
            assert!(rest.is_empty(), "{at}");
            assert_eq!(their_header.correlation_id, header.correlation, "{at}");

            let mut again = BytesMut::new();
            their_header.encode(&mut again, header_version).expect(&at);
            their_request.encode(&mut again, version).expect(&at);
            assert_eq!(again, ours, "{at}");
            assert_eq!(read_request(again.freeze()), Ok((header, request)), "{at}");
        }
    }
}

#[test]
fn answers_are_the_same_to_kafka_protocol() {
    for (key, version) in calls().filter(|(key, version)| is_theirs(*key, *version)) {
        let header_version = theirs(key).response_header_version(version);
        for seed in 0..SAMPLES {
            let (header, response) = sample_response(seed, key, version);
            let at = format!("{header:?} {response:?}");
            let ours = write_response(&header, &response).slice(4..);

            let mut rest = ours.clone();
            let their_header = ResponseHeader::decode(&mut rest, header_version).expect(&at);
            let their_response = ResponseKind::decode(theirs(key), &mut rest, version).expect(&at);
            assert!(rest.is_empty(), "{at}");
            assert_eq!(their_header.correlation_id, header.correlation, "{at}");

            let mut again = BytesMut::new();
            their_header.encode(&mut again, header_version).expect(&at);
            their_response.encode(&mut again, version).expect(&at);
            assert_eq!(again, ours, "{at}");
            let read = read_response(&header, again.freeze());
            assert_eq!(read, Ok((header.correlation, response)), "{at}");
        }
    }
}

#[test]
fn headers_have_their_versions() {
    for (key, version) in calls() {
        // A request's header has tagged fields from its second version on, an answer's from its first.
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
