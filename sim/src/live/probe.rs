//! The first look at a cluster: who answers, which versions, how many brokers.

use std::io;
use std::time::Duration;

use broker::client::{Act, Dialog, Directory, Versions};
use broker_core::protocol::{MetadataResponse, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::read_frame;

/// A broker that does not take or answer a connection for so long is taken for one that is not
/// there.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What a broker said of itself and its cluster.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it speaks.
    pub versions: Versions,
    /// How many brokers there are.
    pub brokers: u16,
}

/// Opens a connection.
///
/// # Errors
/// If there is none within [`CONNECT_WITHIN`].
pub async fn connect((host, port): (String, u16)) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect((host.as_str(), port)));
    let stream = stream.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    #[cfg(not(madsim))]
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks one broker after the other, until one answers.
///
/// # Errors
/// If none does: one sentence with what each said.
pub async fn probe(bootstrap: &[(String, u16)]) -> Result<Found, String> {
    let mut failed = Vec::new();
    for (host, port) in bootstrap {
        let asked = timeout(CONNECT_WITHIN * 2, ask((host.clone(), *port))).await;
        match asked.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
            Ok(found) => return Ok(found),
            Err(why) => failed.push(format!("{host}:{port}: {why}")),
        }
    }
    Err(format!("no broker can be reached: {}", failed.join("; ")))
}

async fn ask(address: (String, u16)) -> Result<Found, String> {
    let mut stream = connect(address).await.map_err(|error| error.to_string())?;
    let mut directory = Directory::default();
    let (mut dialog, hello) = Dialog::hello("seedbed-verify");
    let metadata = Request::Metadata { topics: Some(Vec::new()) };
    let mut acts = dialog.request(&directory, 0, metadata);
    acts.push(Act::Send(hello));
    loop {
        for act in acts {
            match act {
                Act::Send(frame) => {
                    stream.write_all(&frame).await.map_err(|error| error.to_string())?;
                    stream.flush().await.map_err(|error| error.to_string())?;
                }
                Act::Answer { response: Response::Metadata(told), .. } => {
                    let MetadataResponse { brokers, .. } = told;
                    let brokers = u16::try_from(brokers.len()).unwrap_or(u16::MAX);
                    let versions = dialog.versions().expect("it has answered").clone();
                    return Ok(Found { versions, brokers });
                }
                Act::Answer { response, .. } => unreachable!("not asked for: {response:?}"),
                Act::Refused { refusal, .. } => return Err(refusal.to_string()),
            }
        }
        let frame = read_frame(&mut stream).await.map_err(|error| error.to_string())?;
        acts = dialog.frame(&mut directory, frame).map_err(|broken| broken.to_string())?;
    }
}
