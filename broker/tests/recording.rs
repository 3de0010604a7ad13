//! Live nodes that are recorded: their recordings lead to the same steps again, and the same end.

mod client;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use broker::front;
use broker::host::mutants::ShellMutants;
use broker::host::{self, Config, Event, Node, Observer, Peers, SystemClock};
use broker::recording::{BYTES_MAX, End, Entry, Reader, Recorder};
use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker_core::config::{BrokerConfig, BrokerLimits};
use broker_core::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch, ZoneId};
use broker_core::mutants::Mutants;
use broker_core::peer::{FetchBody, PeerMsg, QuorumMsg};
use broker_core::step::{Cx, Effect, Input};
use broker_core::time::Dur;
use client::{Client, Folder, PATIENCE, acknowledged, read_to};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sim::flight::{Verdict, replay};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, sleep, timeout};

async fn start(data: &Path, recorder: Recorder) -> Cluster {
    let limits = BrokerLimits { wal_bulk_interval: Dur::ms(5), ..BrokerLimits::default() };
    let options = Options {
        data: data.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        brokers: 2,
        limits,
        partitions_default: 1,
        creates_topics: true,
        recorder: Some(recorder),
    };
    // A node whose folder is still held by the process before it can not start.
    for _ in 0..50 {
        let store = Arc::new(Store::folder(&data.join("objects")).unwrap());
        match Cluster::start(&options, store).await {
            Ok(cluster) => return cluster,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the cluster does not start")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_of_a_live_cluster_is_replayed_with_every_hash_equal() {
    let folder = Folder::new("recorded");
    fs::create_dir_all(&folder.0).unwrap();
    for (round, file) in ["stopped", "killed"].map(|name| folder.0.join(name)).iter().enumerate() {
        let recorder = Recorder::create(file, BYTES_MAX).unwrap();
        let cluster = start(&folder.0, recorder.clone()).await;
        let mut first = Client::to(cluster.listeners.values().next().unwrap()).await;
        for at in 0..40 {
            let offset = 40 * round as i64 + at;
            let (found, mut leader) = acknowledged(&mut first, b"a value").await;
            assert_eq!(found, offset);
            if at == 39 {
                read_to(&mut leader, offset + 1).await;
            }
        }
        if round == 0 {
            timeout(PATIENCE, cluster.stop()).await.expect("stops");
        } else {
            cluster.kill().await;
        }
        assert_eq!(recorder.progress().1, None);
        // What aborted tasks had begun may still come: a whole frame, or none.
        let bytes = fs::read(file).unwrap();
        let replayed = replay(&bytes[..], None).unwrap_or_else(|bad| panic!("{bad}"));
        assert!(matches!(replayed.verdict, Verdict::Equal), "{:?}", replayed.verdict);
        assert_eq!(replayed.end, Some(End::Whole));
        assert_eq!(replayed.nodes, 5);
        assert!(replayed.steps > 500, "{}", replayed.steps);
        let (mut reader, mut asked) = (Reader::new(&bytes[..]).unwrap(), 0);
        while let Some(frame) = reader.frame().unwrap() {
            let Entry::Fed(fed) = frame.entry else { continue };
            asked += u32::from(matches!(fed.input, Input::Client { .. }));
        }
        assert!(asked > 40, "clients' requests are in it: {asked}");
    }
}

/// Tells of the fetches of metadata that a broker sends.
struct Fetches(mpsc::UnboundedSender<u64>);

impl Observer for Fetches {
    fn stepped(&mut self, _: &Cx, _: &Input, effects: &[Effect]) -> ControlFlow<()> {
        for effect in effects {
            if let Effect::Send { msg: PeerMsg::Quorum(QuorumMsg::Fetch { id, .. }), .. } = effect {
                self.0.send(*id).expect("the test listens");
            }
        }
        ControlFlow::Continue(())
    }
}

#[tokio::test]
async fn recording_of_a_node_that_panics_is_replayed_to_that_step() {
    let folder = Folder::new("panics");
    fs::create_dir_all(&folder.0).unwrap();
    let file = folder.0.join("recording");
    let (id, controller) = (NodeId(1), NodeId(101));
    let limits = BrokerLimits::default();
    let config = BrokerConfig { node: id, zone: ZoneId(0), controllers: vec![controller], limits };
    let cluster = front::Cluster {
        id: "cluster".to_owned(),
        node: id,
        listeners: BTreeMap::new(),
        partitions_default: 1,
        creates_topics: false,
    };
    let (sender, mut fetches) = mpsc::unbounded_channel();
    let mut node = Node {
        id,
        config: Config::Broker(Box::new((config, cluster))),
        incarnation: Incarnation(7),
        store: Arc::new(Store::memory()),
        clock: Box::new(SystemClock::start()),
        entropy: ChaCha8Rng::seed_from_u64(1),
        serving: watch::Sender::new(false),
        observer: Some(Box::new(Fetches(sender))),
        mutants: (Mutants::NONE, ShellMutants::NONE),
    };
    Recorder::create(&file, BYTES_MAX).unwrap().attach(&mut node);
    let (inputs, mut events) = host::inputs();
    let others = inputs.clone();
    let life = tokio::spawn(async move { node.run(others, &mut events, Peers::default()).await });
    // The controller's log has lost what was committed: no broker may live with that.
    let fetch = timeout(PATIENCE, fetches.recv()).await.unwrap().unwrap();
    let (epoch, end_offset) = (QuorumEpoch(1), MetaOffset(0));
    let body = FetchBody::Diverging { epoch, end_offset };
    let reply = QuorumMsg::FetchReply { epoch, leader: Some(controller), id: fetch, body };
    inputs.tell(Event::Peer(controller, PeerMsg::Quorum(reply.clone()))).await;
    let died = timeout(PATIENCE, life).await.unwrap().unwrap_err().into_panic();
    let died = died.downcast_ref::<String>().unwrap();
    let replayed = replay(&fs::read(&file).unwrap()[..], None).unwrap();
    let Verdict::Panicked(panicked) = replayed.verdict else { panic!("{:?}", replayed.verdict) };
    assert_eq!(&panicked.message, died, "the same panic");
    assert!(died.starts_with("committed entries are gone"), "{died}");
    let fed = Input::Peer { from: controller, msg: PeerMsg::Quorum(reply) };
    assert_eq!((panicked.node, panicked.input), (id, fed));
    assert_eq!(replayed.end, Some(End::Whole));
}
