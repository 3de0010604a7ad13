//! A connection against brokers of a few lines.

use broker::wire::messages::cluster::{api_versions, metadata};
use broker::wire::{self, ApiKey};
use broker_core::protocol::{Acks, ErrorCode, MetadataResponse, ProduceRequest};
use broker_core::time::Dur;
use tokio::io::DuplexStream;

use super::*;

const CONN: ConnId = ConnId(7);

struct Rig {
    connection: Option<Connection>,
    events: mpsc::UnboundedReceiver<(ConnId, Event)>,
    broker: DuplexStream,
}

impl Rig {
    fn new() -> Self {
        let (ours, broker) = tokio::io::duplex(1 << 16);
        let (sender, events) = mpsc::unbounded_channel();
        let stream = async { Ok(ours) };
        let connection = spawn(CONN, "me".to_owned(), Shared::default(), stream, sender);
        Self { connection: Some(connection), events, broker }
    }

    fn ask(&self, corr: u32) {
        let request = Request::Metadata { topics: Some(Vec::new()) };
        self.connection.as_ref().expect("open").send(corr, request);
    }

    /// Reads a request, and answers it.
    async fn answer(&mut self) {
        let frame = read_frame(&mut self.broker).await.expect("a request");
        let (header, request) = wire::read_request(frame).expect("a request");
        let response = match request {
            wire::Request::ApiVersions(_) => {
                let key = |it: &ApiKey| {
                    let (min_version, max_version) = it.versions();
                    api_versions::ApiVersion { api_key: *it as i16, min_version, max_version }
                };
                let api_keys = [ApiKey::ApiVersions, ApiKey::Metadata].iter().map(key).collect();
                let told = api_versions::Response { api_keys, ..Default::default() };
                wire::Response::ApiVersions(told)
            }
            _ => wire::Response::Metadata(metadata::Response::default()),
        };
        let frame = wire::write_response(&header, &response);
        // In two pieces, cut within the length.
        self.broker.write_all(&frame[..2]).await.expect("open");
        self.broker.write_all(&frame[2..]).await.expect("open");
    }

    async fn event(&mut self) -> Event {
        let (conn, event) = self.events.recv().await.expect("an event");
        assert_eq!(conn, CONN);
        event
    }
}

#[tokio::test]
async fn connection_answers_come_in_order_under_the_clients_numbers() {
    let mut rig = Rig::new();
    [3, 3, 1].into_iter().for_each(|corr| rig.ask(corr));
    for _ in 0..4 {
        rig.answer().await;
    }
    for expected in [3, 3, 1] {
        let Event::Response { corr, response } = rig.event().await else { panic!("an answer") };
        let none = MetadataResponse { brokers: Vec::new(), topics: Vec::new() };
        assert_eq!((corr, response), (expected, Response::Metadata(none)));
    }
}

#[tokio::test]
async fn connection_that_the_broker_closes_is_gone_behind_its_answers() {
    let mut rig = Rig::new();
    rig.ask(1);
    rig.answer().await;
    rig.answer().await;
    rig.broker.shutdown().await.expect("open");
    assert!(matches!(rig.event().await, Event::Response { corr: 1, .. }));
    assert!(matches!(rig.event().await, Event::Gone { .. }));
}

#[tokio::test]
async fn connection_of_a_broker_that_says_rubbish_is_gone() {
    for rubbish in [&[0xff_u8; 8][..], &[0, 0, 0, 4, 0, 0, 0, 99], &[0, 0, 0, 1, 0]] {
        let mut rig = Rig::new();
        rig.ask(1);
        rig.broker.write_all(rubbish).await.expect("open");
        assert!(matches!(rig.event().await, Event::Gone { .. }), "{rubbish:?}");
    }
}

#[tokio::test]
async fn connection_that_can_not_be_opened_is_gone() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let refused = async { Err::<DuplexStream, _>(io::Error::other("refused")) };
    let _connection = spawn(CONN, "me".to_owned(), Shared::default(), refused, sender);
    let Some((CONN, Event::Gone { why, broken: false })) = events.recv().await else {
        panic!("gone")
    };
    assert_eq!(why, "refused");
}

#[tokio::test]
async fn connection_that_the_client_drops_is_closed_without_a_word() {
    let mut rig = Rig::new();
    rig.answer().await;
    rig.connection = None;
    assert!(read_frame(&mut rig.broker).await.is_err(), "closed");
    assert!(rig.events.recv().await.is_none(), "nothing is told");
}

#[tokio::test]
async fn connection_to_a_broker_that_lacks_a_call_says_so_and_answers() {
    let mut rig = Rig::new();
    let connection = rig.connection.as_ref().expect("open");
    connection.send(5, Request::InitProducerId);
    // Without acks there is no answer, not even one of ours.
    let (acks, timeout) = (Acks::None, Dur::ms(1));
    let (transactional, batches) = (None, Vec::new());
    let silent = ProduceRequest { acks, timeout, transactional, batches };
    connection.send(6, Request::Produce(silent));
    rig.answer().await;
    let Event::Refused(refusal) = rig.event().await else { panic!("refused") };
    assert_eq!(refusal.code(), ErrorCode::UnsupportedVersion);
    let Event::Response { corr: 5, response } = rig.event().await else { panic!("an answer") };
    assert_eq!(response, Response::InitProducerId(Err(ErrorCode::UnsupportedVersion)));
    assert!(matches!(rig.event().await, Event::Refused(_)));
    rig.connection = None;
    assert!(rig.events.recv().await.is_none());
}
