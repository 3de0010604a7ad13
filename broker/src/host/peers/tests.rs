use std::net::SocketAddr;

use broker_core::ids::{IncarnationId, QuorumEpoch};
use broker_core::peer::frame::{self, Frame, MAGIC, VERSION};
use broker_core::peer::{ControllerRequest, QuorumMsg};
use broker_core::{format, ids};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::host::{Events, inputs};

/// Longer than any of it takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn links(node: NodeId, other: NodeId, address: SocketAddr) -> Links {
    let others = BTreeMap::from([(other, address.to_string())]);
    Links { cluster: "here".to_owned(), node, others }
}

/// Node B, that listens and knows A.
async fn listener() -> (SocketAddr, Events, tokio::task::JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let (inputs, events) = inputs();
    let links = Arc::new(links(B, A, SocketAddr::from(([127, 0, 0, 1], 1))));
    (address, events, tokio::spawn(listen(socket, links, inputs)))
}

fn hello() -> Hello {
    Hello { cluster: "here".to_owned(), from: A, to: B, incarnation: Incarnation(1) }
}

fn message(number: u64) -> PeerMsg {
    let request = ControllerRequest::PrepareObject { epoch: ids::BrokerEpoch(1), request: number };
    PeerMsg::Ask { id: number, incarnation_id: IncarnationId(1), request }
}

async fn heard(events: &mut Events) -> u64 {
    match timeout(PATIENCE, events.next()).await.expect("a message") {
        Event::Peer(A, PeerMsg::Ask { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

/// Opens a connection, and sends these bytes.
async fn sends(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn is_welcome(stream: &mut TcpStream) {
    let welcome = timeout(PATIENCE, frames::read(stream, HELLO_BYTES_MAX)).await;
    assert_eq!(welcome.expect("in time").expect("a frame"), Some(Frame::Welcome));
}

/// Waits until the other side has closed the connection.
async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // An end, or a reset if it had not read all.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
}

#[tokio::test]
async fn peers_messages_arrive_in_order() {
    let (address, mut events, _listening) = listener().await;
    let (own, mut own_events) = inputs();
    let peers = links(A, B, address).connect(Incarnation(1), &own);
    for number in 0..500 {
        peers.send(A, B, message(number));
    }
    peers.send(A, A, message(7));
    peers.send(A, NodeId(9), message(8));
    for number in 0..500 {
        assert_eq!(heard(&mut events).await, number);
    }
    assert_eq!(heard(&mut own_events).await, 7);
}

#[tokio::test]
async fn peers_large_message_arrives_and_a_full_queue_loses() {
    let (address, mut events, _listening) = listener().await;
    let peers = links(A, B, address).connect(Incarnation(1), &inputs().0);
    let successors = (0..=u16::MAX).map(NodeId).collect::<Vec<_>>().repeat(20);
    let large = QuorumMsg::EndEpoch { epoch: QuorumEpoch(3), preferred_successors: successors };
    let large = PeerMsg::Quorum(large);
    peers.send(A, B, large.clone());
    match timeout(PATIENCE, events.next()).await.expect("a message") {
        Event::Peer(A, msg) => assert!(msg == large),
        other => panic!("{other:?}"),
    }
    // No task runs between these: nothing takes them out of the queue.
    for number in 0..QUEUE_MAX as u64 + 100 {
        peers.send(A, B, message(number));
    }
    peers.send(A, B, message(5_000));
    for number in 0..QUEUE_MAX as u64 {
        assert_eq!(heard(&mut events).await, number);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    peers.send(A, B, message(6_000));
    assert_eq!(heard(&mut events).await, 6_000);
}

#[tokio::test]
async fn peers_hostile_or_foreign_connection_is_closed_and_others_go_on() {
    let (address, mut events, _listening) = listener().await;
    let mut good = sends(address, &frame::encode(&Frame::Hello(hello()))).await;
    is_welcome(&mut good).await;
    let of = |hello| frame::encode(&Frame::Hello(hello));
    let mut huge = frame::encode(&Frame::Ping);
    huge[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut damaged = of(hello());
    *damaged.last_mut().expect("a body") ^= 1;
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        huge,
        damaged,
        of(Hello { cluster: "elsewhere".to_owned(), ..hello() }),
        of(Hello { to: A, ..hello() }),
        of(Hello { from: NodeId(3), ..hello() }),
        of(Hello { from: B, ..hello() }),
        of(Hello { incarnation: Incarnation(0), ..hello() }),
        of(Hello { cluster: "x".repeat(2_000), ..hello() }),
        frame::encode(&Frame::Message(message(1))),
        frame::encode(&Frame::Ping),
        format::seal(MAGIC, VERSION + 1, b"from the future"),
    ] {
        is_closed(sends(address, &bytes).await).await;
    }
    good.write_all(&frame::encode_message(&message(4))).await.expect("still open");
    assert_eq!(heard(&mut events).await, 4);
    // What comes later is no better.
    good.write_all(&of(hello())).await.expect("still open");
    is_closed(good).await;
}

#[tokio::test]
async fn peers_newer_connection_takes_the_place_of_the_older() {
    let (address, mut events, _listening) = listener().await;
    let greeting = |incarnation| {
        frame::encode(&Frame::Hello(Hello { incarnation: Incarnation(incarnation), ..hello() }))
    };
    let mut first = sends(address, &greeting(1)).await;
    is_welcome(&mut first).await;
    let mut second = sends(address, &greeting(2)).await;
    is_welcome(&mut second).await;
    is_closed(first).await;
    second.write_all(&frame::encode_message(&message(2))).await.expect("open");
    assert_eq!(heard(&mut events).await, 2);
    drop(second);
    // Nobody is there any more: even a process that counts from 1 again may come.
    let mut third = sends(address, &greeting(1)).await;
    for _ in 0..100 {
        let welcome = timeout(PATIENCE, frames::read(&mut third, HELLO_BYTES_MAX)).await;
        if let Ok(Ok(Some(Frame::Welcome))) = welcome {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        third = sends(address, &greeting(1)).await;
    }
    panic!("never welcome");
}

#[tokio::test]
async fn peers_silent_connection_is_given_up_by_both_sides() {
    let (address, _events, _listening) = listener().await;
    let begin = Instant::now();
    let incoming = async {
        let mut stream = sends(address, &frame::encode(&Frame::Hello(hello()))).await;
        is_welcome(&mut stream).await;
        is_closed(stream).await;
        assert!(begin.elapsed() >= SILENCE_MAX, "{:?}", begin.elapsed());
    };
    let outgoing = async {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let _peers = links(A, B, address).connect(Incarnation(1), &inputs().0);
        let (mut first, _) = socket.accept().await.expect("a connection");
        let greeting = frames::read(&mut first, HELLO_BYTES_MAX).await.expect("a frame");
        assert_eq!(greeting, Some(Frame::Hello(hello())));
        frames::write(&mut first, &frame::encode(&Frame::Welcome)).await.expect("sent");
        let again = timeout(PATIENCE, socket.accept()).await;
        again.expect("in time").expect("a connection");
        assert!(begin.elapsed() >= SILENCE_MAX, "{:?}", begin.elapsed());
    };
    tokio::join!(incoming, outgoing);
}

/// The next frame, which must come before a silence that ends the connection.
async fn shows_life(stream: &mut TcpStream) {
    for _ in 0..3 {
        let frame = frames::read(stream, HELLO_BYTES_MAX).await.expect("no silence");
        assert_eq!(frame, Some(Frame::Ping));
    }
}

#[tokio::test]
async fn peers_idle_connection_is_kept_alive_by_both_sides() {
    let (address, _events, _listening) = listener().await;
    let incoming = async {
        let mut stream = sends(address, &frame::encode(&Frame::Hello(hello()))).await;
        is_welcome(&mut stream).await;
        shows_life(&mut stream).await;
    };
    let outgoing = async {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let _peers = links(A, B, address).connect(Incarnation(1), &inputs().0);
        let (mut stream, _) = socket.accept().await.expect("a connection");
        let greeting = frames::read(&mut stream, HELLO_BYTES_MAX).await.expect("a frame");
        assert_eq!(greeting, Some(Frame::Hello(hello())));
        frames::write(&mut stream, &frame::encode(&Frame::Welcome)).await.expect("sent");
        shows_life(&mut stream).await;
    };
    tokio::join!(incoming, outgoing);
}

#[tokio::test]
async fn peers_lost_connection_is_opened_again_and_nothing_comes_twice() {
    let (address, mut events, listening) = listener().await;
    let peers = links(A, B, address).connect(Incarnation(1), &inputs().0);
    peers.send(A, B, message(0));
    assert_eq!(heard(&mut events).await, 0);
    listening.abort();
    let _ = listening.await;
    drop(events);
    for number in 1..50 {
        peers.send(A, B, message(number));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let socket = TcpListener::bind(address).await.expect("the port is free again");
    let (inputs, mut events) = inputs();
    let known = Arc::new(links(B, A, SocketAddr::from(([127, 0, 0, 1], 1))));
    tokio::spawn(listen(socket, known, inputs));
    let sending = async {
        for number in 100.. {
            peers.send(A, B, message(number));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let hearing = async {
        let mut last = 50;
        for _ in 0..20 {
            let number = heard(&mut events).await;
            assert!(number > last, "{number} after {last}");
            last = number;
        }
    };
    tokio::select! { biased;
        () = hearing => {}
        () = sending => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn peers_dropped_end_their_connections() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let peers = links(A, B, address).connect(Incarnation(1), &inputs().0);
    let (mut stream, _) = socket.accept().await.expect("a connection");
    let _ = frames::read(&mut stream, HELLO_BYTES_MAX).await.expect("a frame");
    frames::write(&mut stream, &frame::encode(&Frame::Welcome)).await.expect("sent");
    drop(peers);
    is_closed(stream).await;
    assert!(timeout(Duration::from_millis(300), socket.accept()).await.is_err());
}

#[tokio::test]
async fn peers_frame_that_is_too_long_is_refused_by_its_length() {
    for (length, why) in [
        (HELLO_BYTES_MAX, "closed in the middle of a frame"),
        (HELLO_BYTES_MAX + 1, "a frame of 1025 bytes; up to 1024 are allowed"),
        (u32::MAX as usize, "a frame of 4294967295 bytes; up to 1024 are allowed"),
    ] {
        let mut bytes = frame::encode(&Frame::Ping);
        bytes[5..9].copy_from_slice(&u32::try_from(length).expect("a length").to_be_bytes());
        let refused = frames::read(&mut &bytes[..], HELLO_BYTES_MAX).await;
        assert_eq!(refused.expect_err("no frame").to_string(), why);
    }
}
