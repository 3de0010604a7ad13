//! Whose a folder and an object store are: each belongs to one cluster, by its id, and is never
//! used for another. And which host clients are told, for an address of a broker.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_core::ids::NodeId;
use broker_core::step::{Cond, Key, ObjOp, ObjResult};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::durable;
use crate::host::ObjectStore;

/// The file of a data folder that holds the cluster's id, and the object of a store.
const NAME: &str = "cluster-id";

/// A node's own folder in a data folder.
pub(crate) fn folder(data: &Path, node: NodeId) -> PathBuf {
    data.join(format!("node-{node}"))
}

/// The id of the cluster that has the data folder, made at its first start: 22 characters, as
/// Kafka's.
pub(crate) fn id_of_folder(data: &Path) -> io::Result<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if let Some(id) = read(data)? {
        return Ok(id);
    }
    let mut entropy = ChaCha8Rng::from_os_rng();
    let letter = |_| char::from(LETTERS[(entropy.next_u32() % 64) as usize]);
    let id: String = (0..22).map(letter).collect();
    write(data, &id)?;
    Ok(id)
}

/// Makes the data folder this cluster's, or sees that it is.
pub(crate) fn claim_folder(id: &str, data: &Path) -> io::Result<()> {
    match read(data)? {
        Some(other) if other != id => {
            let data = data.display();
            Err(io::Error::other(format!("{data} belongs to cluster {other}, and this is {id}")))
        }
        Some(_) => Ok(()),
        None => write(data, id),
    }
}

fn read(data: &Path) -> io::Result<Option<String>> {
    durable::create_folder(data)?;
    let id = durable::read(&data.join(NAME))?;
    Ok(id.map(|id| String::from_utf8_lossy(&id).trim().to_owned()))
}

fn write(data: &Path, id: &str) -> io::Result<()> {
    durable::replace(data, NAME, format!("{id}\n").as_bytes())?;
    durable::sync_folder(data)
}

/// Makes the store this cluster's, or sees that it is: two clusters on one store would take each
/// other's logs away. `has_run`: the node has used the store before.
pub(crate) async fn claim_store(
    id: &str,
    (data, has_run): (&Path, bool),
    store: &dyn ObjectStore,
) -> io::Result<()> {
    let key = Key(Arc::from(NAME));
    let body = Bytes::copy_from_slice(id.as_bytes());
    // A node that has run never makes a store its cluster's: the next start would find it so.
    if !has_run {
        let put = ObjOp::Put { key: key.clone(), body: body.clone(), cond: Cond::IfAbsent };
        match store.perform(put).await {
            ObjResult::Done { .. } => return Ok(()),
            ObjResult::PreconditionFailed => {}
            other => {
                return Err(io::Error::other(format!("the store can not be used: {other:?}")));
            }
        }
    }
    let why = match store.perform(ObjOp::Get { key, range: None }).await {
        ObjResult::Body { data, .. } if data == body => return Ok(()),
        ObjResult::Body { data, .. } => {
            let other = String::from_utf8_lossy(&data).into_owned();
            format!("the store belongs to cluster {other}, and this is {id}")
        }
        ObjResult::NotFound => {
            let data = data.display();
            format!("the cluster in {data} has run before, and its objects are not in this store")
        }
        other => format!("the store does not tell whose it is: {other:?}"),
    };
    Err(io::Error::other(why))
}

/// The host that clients are told of for a broker that listens on `listen`.
///
/// # Errors
/// If it would be an address that stands for all of a machine: no client can connect to that.
pub(crate) fn advertised(listen: SocketAddr, advertise: Option<&str>) -> io::Result<String> {
    let host = advertise.map_or_else(|| listen.ip().to_string(), str::to_owned);
    let why = if host.is_empty() || host.chars().any(char::is_whitespace) {
        format!("--advertise \"{host}\": a host name or an IP address is needed")
    } else if !stands_for_all(&host) {
        return Ok(host);
    } else if advertise.is_some() {
        format!("--advertise {host}: clients can not connect to it; tell them a name or an address")
    } else {
        format!("--listen {listen}: clients can not connect to {host}; --advertise what they can")
    };
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

/// Whether a host is `0.0.0.0` or `::`.
pub(crate) fn stands_for_all(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::tests::Scratch;
    use crate::store::Store;

    #[test]
    fn folder_of_another_cluster_is_refused() {
        let folder = Scratch::new("belongs");
        claim_folder("one", &folder).expect("nobody's");
        claim_folder("one", &folder).expect("its own");
        let refused = claim_folder("two", &folder).expect_err("another's").to_string();
        assert!(refused.ends_with("belongs to cluster one, and this is two"), "{refused}");
        assert_eq!(id_of_folder(&folder).expect("an id"), "one");
    }

    #[tokio::test]
    async fn store_is_refused_to_another_cluster_and_empty_to_one_that_has_run() {
        let store = Store::memory();
        let claim = async |id, has_run| {
            let claimed = claim_store(id, (Path::new("data"), has_run), &store).await;
            claimed.map_err(|error| error.to_string())
        };
        for _ in 0..2 {
            let refused = claim("one", true).await.expect_err("empty");
            assert!(refused.contains("not in this store"), "{refused}");
        }
        assert_eq!(claim("one", false).await, Ok(()));
        assert_eq!(claim("one", false).await, Ok(()));
        assert_eq!(claim("one", true).await, Ok(()));
        for has_run in [false, true] {
            let refused = claim("two", has_run).await.expect_err("another's");
            assert!(refused.contains("belongs to cluster one"), "{refused}");
        }
    }

    #[test]
    fn address_that_stands_for_all_is_never_told() {
        let all: SocketAddr = "0.0.0.0:9092".parse().expect("an address");
        let one: SocketAddr = "[::1]:9092".parse().expect("an address");
        assert_eq!(advertised(one, None).expect("told"), "::1");
        assert_eq!(advertised(all, Some("kafka.example")).expect("told"), "kafka.example");
        for (listen, advertise) in [
            (all, None),
            (all, Some("0.0.0.0")),
            (one, Some("::")),
            (all, Some("")),
            (all, Some(" ")),
        ] {
            assert!(advertised(listen, advertise).is_err(), "{listen} {advertise:?}");
        }
    }
}
