//! A node without tasks: what has a turn, and when.

use broker_core::config::BrokerLimits;
use broker_core::ids::ZoneId;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::store::Store;
use crate::wire::ApiKey;
use crate::wire::messages::cluster::api_versions;
use crate::wire::messages::groups::describe_groups;

/// A broker that knows no cluster yet: it answers at once, by refusals.
fn running(inputs: Inputs) -> Running {
    let node = NodeId(1);
    let controllers = vec![NodeId(101)];
    let config =
        BrokerConfig { node, zone: ZoneId(0), controllers, limits: BrokerLimits::default() };
    let cluster = Cluster {
        id: "cluster".to_owned(),
        node,
        listeners: BTreeMap::new(),
        partitions_default: 1,
        creates_topics: true,
    };
    Running {
        id: node,
        role: Role::Broker(Box::new(Broker::new(config)), Box::new(cluster)),
        store: Arc::new(Store::memory()),
        log: None,
        clock: Box::new(SystemClock::start()),
        entropy: ChaCha8Rng::seed_from_u64(1),
        timers: Timers::default(),
        front: Front::default(),
        connections: BTreeMap::new(),
        peers: Peers::default(),
        inputs,
        next: VecDeque::new(),
        serving: watch::Sender::new(false),
        observer: None,
        mutants: Mutants::NONE,
        planted: Planted::default(),
        held: None,
        end: None,
    }
}

fn request(conn: ConnId, request: wire::Request) -> Event {
    let (key, version) = (request.key(), 0);
    let header = Header { key, version, correlation: 1, client: None };
    Event::Request(conn, header, request, limits::Held::default())
}

#[tokio::test]
async fn node_fed_by_a_request_of_many_parts_lets_others_have_a_turn() {
    let (inputs, _events) = inputs();
    let mut node = running(inputs);
    node.feed(Input::Boot(BootImage {
        incarnation: Incarnation(1),
        incarnation_id: IncarnationId(1),
    }));
    let (many, few) = (ConnId(1), ConnId(2));
    let [(many_answers, mut of_many), (few_answers, mut of_few)] =
        [(); 2].map(|()| connection::Answers::channel());
    node.event(Event::Opened(many, many_answers));
    node.event(Event::Opened(few, few_answers));
    let groups = (0..10_000).map(|at| format!("g{at}")).collect();
    let describe = describe_groups::Request { groups, ..Default::default() };
    node.event(request(many, wire::Request::DescribeGroups(describe)));
    let versions = wire::Request::ApiVersions(api_versions::Request::default());
    node.event(request(few, versions));
    let (header, _) = of_few.try_recv().expect("answered");
    assert_eq!(header.key, ApiKey::ApiVersions);
    assert!(of_many.try_recv().is_err(), "all its parts were done before anybody had a turn");
    while !node.next.is_empty() {
        node.go_on();
    }
    assert!(of_many.try_recv().is_ok());
}
