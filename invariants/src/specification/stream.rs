//! A stream of records: written to one log at a time, confirmed in order, and committed in order:
//! what is confirmed, or was recovered. Source: AutoMQ's `StreamControlManager`.

use super::May;
use super::wal::Log;

/// A stream. Places are offsets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stream {
    /// The log that it is written to.
    pub(crate) log: Option<Log>,
    /// The number of its last opening.
    opening: Option<u64>,
    /// How far it is in objects of data.
    pub(crate) committed: u64,
    /// How far it may be acknowledged.
    pub(crate) confirmed: u64,
}

impl Stream {
    /// It is opened, by a greater number than before.
    pub(crate) fn open(&mut self, opening: u64, log: Log) -> May {
        guard!(self.log.is_none(), "it is open");
        guard!(self.opening < Some(opening), "it was opened before");
        (self.log, self.opening, self.confirmed) = (Some(log), Some(opening), self.committed);
        Ok(())
    }

    /// It is closed.
    pub(crate) fn close(&mut self) -> May {
        guard!(self.confirmed <= self.committed, "not all that was confirmed is committed");
        self.log = None;
        Ok(())
    }

    /// A record of this log is confirmed. Who confirms late finds that others have recovered it.
    pub(crate) fn confirm(&mut self, log: Log, (base, end): (u64, u64)) -> May {
        let open = self.log == Some(log);
        guard!(!open || base == self.confirmed, "it does not go on where its stream ends");
        guard!(open || end <= self.committed, "its stream is elsewhere, and lacks it");
        self.confirmed = self.confirmed.max(end);
        Ok(())
    }

    /// What was written to this log in this opening is committed. `found`: so far of it was found
    /// in a log that is to be recovered.
    pub(crate) fn commit(
        &mut self,
        (log, opening): (Log, u64),
        (base, end): (u64, u64),
        found: Option<u64>,
    ) -> May {
        let open = (self.log, self.opening) == (Some(log), Some(opening));
        guard!(open, "its stream is not open in that log");
        guard!(base == self.committed, "it does not go on where the stream ends");
        guard!(found.is_some() || end <= self.confirmed, "it is not confirmed");
        guard!(found.is_none_or(|found| end <= found), "who recovers it has not found it");
        self.committed = end;
        Ok(())
    }
}
