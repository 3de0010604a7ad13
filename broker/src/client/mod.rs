//! The client's side of the wire: core requests become frames, frames become core answers, in the
//! versions that both sides speak. The inverse of [`crate::front`].
//!
//! A dialog is a value without I/O, one per connection; what a client learns of topics and brokers
//! is in its [`Directory`], shared by its dialogs. Retrying, routing and time-outs are the client
//! machine's. Source: Kafka's protocol guide, `NetworkClient.java`, KIP-35, KIP-511, KIP-584.

use std::collections::VecDeque;

use broker_core::protocol::{self as core, TransactionVersion};
use bytes::Bytes;

use crate::wire::messages::cluster::api_versions;
use crate::wire::{self, ApiKey, Header};

mod admin;
mod cluster;
mod directory;
mod groups;
mod offsets;
mod records;
mod refusal;
#[cfg(test)]
mod tests;
mod transactions;
mod versions;

pub use directory::{Brokers, Directory, Names};
pub use offsets::UNTOLD_EPOCH;
pub use refusal::{Broken, Refusal, refused};
pub use versions::Versions;

use refusal::body;

/// ApiVersions: the broker does not speak the version that it was asked in.
const UNSUPPORTED_VERSION: i16 = 35;

/// What we call ourselves in ApiVersions (KIP-511).
const SOFTWARE: &str = "seedbed";

/// What one side of a dialog must do next.
#[derive(Debug)]
pub enum Act {
    /// Write this frame, which has its length before it.
    Send(Bytes),
    /// The core's answer to the request with this number.
    Answer {
        /// As it was given with the request.
        corr: u32,
        /// The answer.
        response: core::Response,
    },
    /// This request was not sent, and never will be: it can not be said to this broker.
    Refused {
        /// As it was given with the request.
        corr: u32,
        /// Why.
        refusal: Refusal,
        /// The same as an answer, for a machine that knows no other; none for a request that has
        /// none.
        response: Option<core::Response>,
    },
}

/// One connection, from the client's side. Begins with [`Dialog::hello`].
pub struct Dialog {
    client: String,
    stage: Stage,
    /// Sent, or refused, and not yet told: in the order of the requests.
    pending: VecDeque<Pending>,
    correlation: i32,
}

enum Stage {
    /// ApiVersions was asked in this header's version; what the core asks waits.
    Asking(Header, VecDeque<(u32, core::Request)>),
    Open(Versions),
}

enum Pending {
    Sent { corr: u32, header: Header, join: Join },
    Refused { corr: u32, refusal: Refusal, response: Option<core::Response> },
}

/// Makes the core's answer out of the wire's.
type Join =
    Box<dyn FnOnce(&mut Directory, wire::Response) -> Result<core::Response, Broken> + Send>;

/// A core request as it is said on the wire.
struct Asked {
    version: i16,
    request: wire::Request,
    /// None: it has no answer.
    join: Option<Join>,
}

impl Asked {
    fn new(
        version: i16,
        request: wire::Request,
        join: impl FnOnce(&mut Directory, wire::Response) -> Result<core::Response, Broken>
        + Send
        + 'static,
    ) -> Self {
        Self { version, request, join: Some(Box::new(join)) }
    }
}

/// What a request may be made of.
#[derive(Clone, Copy)]
struct View<'a> {
    versions: &'a Versions,
    directory: &'a Directory,
}

impl Dialog {
    /// A dialog of a client that calls itself so, and the first frame to be sent.
    #[must_use]
    pub fn hello(client: &str) -> (Self, Bytes) {
        let (_, newest) = ApiKey::ApiVersions.versions();
        let mut dialog = Self {
            client: client.to_owned(),
            stage: Stage::Open(Versions::default()),
            pending: VecDeque::new(),
            correlation: 0,
        };
        let frame = dialog.ask_versions(newest, VecDeque::new());
        (dialog, frame)
    }

    fn ask_versions(&mut self, version: i16, waiting: VecDeque<(u32, core::Request)>) -> Bytes {
        let header = self.header(ApiKey::ApiVersions, version);
        let request = wire::Request::ApiVersions(api_versions::Request {
            client_software_name: SOFTWARE.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let frame = wire::write_request(&header, &request);
        self.stage = Stage::Asking(header, waiting);
        frame
    }

    fn header(&mut self, key: ApiKey, version: i16) -> Header {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        Header { key, version, correlation: self.correlation, client: Some(self.client.clone()) }
    }

    /// What the broker speaks, as soon as it has said so.
    #[must_use]
    pub fn versions(&self) -> Option<&Versions> {
        match &self.stage {
            Stage::Asking(..) => None,
            Stage::Open(versions) => Some(versions),
        }
    }

    /// Which protocol of transactions this broker follows, as soon as it has said so.
    #[must_use]
    pub fn transaction_version(&self) -> Option<TransactionVersion> {
        self.versions().map(Versions::transactions)
    }

    /// The client asks.
    pub fn request(
        &mut self,
        directory: &Directory,
        corr: u32,
        request: core::Request,
    ) -> Vec<Act> {
        if let Stage::Asking(_, waiting) = &mut self.stage {
            waiting.push_back((corr, request));
            return Vec::new();
        }
        let mut acts = Vec::new();
        self.say(directory, (corr, request), &mut acts);
        self.tell_refused(&mut acts);
        acts
    }

    fn say(
        &mut self,
        directory: &Directory,
        (corr, request): (u32, core::Request),
        acts: &mut Vec<Act>,
    ) {
        let Stage::Open(versions) = &self.stage else { unreachable!("the caller saw to it") };
        match translate(View { versions, directory }, &request) {
            Ok(Asked { version, request, join }) => {
                let header = self.header(request.key(), version);
                acts.push(Act::Send(wire::write_request(&header, &request)));
                if let Some(join) = join {
                    self.pending.push_back(Pending::Sent { corr, header, join });
                }
            }
            Err(refusal) => {
                let response = refused(&request, refusal.code());
                self.pending.push_back(Pending::Refused { corr, refusal, response });
            }
        }
    }

    /// Whatever was refused and has nothing before it that is not answered.
    fn tell_refused(&mut self, acts: &mut Vec<Act>) {
        while let Some(Pending::Refused { .. }) = self.pending.front() {
            let Some(Pending::Refused { corr, refusal, response }) = self.pending.pop_front()
            else {
                unreachable!("just seen")
            };
            acts.push(Act::Refused { corr, refusal, response });
        }
    }

    /// A frame came, here without its length.
    ///
    /// # Errors
    /// If it is no answer to the oldest request, or says what can not be: the connection can not be
    /// trusted any more and must be closed.
    pub fn frame(&mut self, directory: &mut Directory, frame: Bytes) -> Result<Vec<Act>, Broken> {
        if let Stage::Asking(header, waiting) = &mut self.stage {
            let (header, waiting) = (header.clone(), std::mem::take(waiting));
            return self.versions_told(directory, &header, waiting, frame);
        }
        let Some(Pending::Sent { corr, header, join }) = self.pending.pop_front() else {
            return Err(Broken::Unasked);
        };
        let response = read(&header, frame)?;
        let response = join(directory, response)?;
        let mut acts = vec![Act::Answer { corr, response }];
        self.tell_refused(&mut acts);
        Ok(acts)
    }

    fn versions_told(
        &mut self,
        directory: &Directory,
        header: &Header,
        waiting: VecDeque<(u32, core::Request)>,
        frame: Bytes,
    ) -> Result<Vec<Act>, Broken> {
        // An error is told in version 0, whatever was asked (KIP-511): the code comes first.
        let refused = frame.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes());
        let version = if refused { 0 } else { header.version };
        let response = read(&Header { version, ..header.clone() }, frame)?;
        let told = body!(response, wire::Response::ApiVersions(it) => it);
        if refused {
            let spoken = Versions::of(&told).pick(ApiKey::ApiVersions, ..header.version);
            let again = spoken.map_err(|_| Broken::NoVersions(UNSUPPORTED_VERSION))?;
            return Ok(vec![Act::Send(self.ask_versions(again, waiting))]);
        }
        if told.error_code != 0 {
            return Err(Broken::NoVersions(told.error_code));
        }
        self.stage = Stage::Open(Versions::of(&told));
        let mut acts = Vec::new();
        for asked in waiting {
            self.say(directory, asked, &mut acts);
        }
        self.tell_refused(&mut acts);
        Ok(acts)
    }
}

/// Reads an answer that must be to this header.
fn read(header: &Header, frame: Bytes) -> Result<wire::Response, Broken> {
    let (correlation, response) = wire::read_response(header, frame)
        .map_err(|malformed| Broken::Malformed { key: header.key, malformed })?;
    if correlation != header.correlation {
        let (asked, answered) = (header.correlation, correlation);
        return Err(Broken::Correlation { asked, answered });
    }
    Ok(response)
}

fn translate(view: View<'_>, request: &core::Request) -> Result<Asked, Refusal> {
    use core::Request as R;
    match request {
        R::Metadata { topics } => cluster::metadata(view, topics.as_deref()),
        R::FindCoordinator { kind, name } => cluster::find_coordinator(view, *kind, name),
        R::Produce(request) => records::produce(view, request),
        R::Fetch(request) => records::fetch(view, request),
        R::ListOffsets { isolation, partitions } => {
            offsets::list_offsets(view, *isolation, partitions)
        }
        R::OffsetForLeaderEpoch { partitions } => offsets::epoch_ends(view, partitions),
        R::Admin(request) => admin::change(view, request),
        R::DescribeConfigs { topic } => admin::describe_configs(view, topic),
        R::InitProducerId => transactions::producer_id(view),
        R::Txn(request) => transactions::ask(view, request),
        R::Group(request) => groups::ask(view, request),
        R::WriteTxnMarkers { .. } | R::Validate(_) => Err(Refusal::NotAClients),
    }
}

/// A number of ours that the wire says as 32 bits with a sign. Panics if it does not fit: what a
/// client asks about is far below that.
fn number(it: u32) -> i32 {
    i32::try_from(it).expect("below 2^31")
}

/// An offset, a producer id.
fn long(it: u64) -> i64 {
    i64::try_from(it).expect("below 2^63")
}

/// A length of time as the wire says it.
fn ms(dur: broker_core::time::Dur) -> i32 {
    i32::try_from(dur.0 / 1_000).unwrap_or(i32::MAX)
}
