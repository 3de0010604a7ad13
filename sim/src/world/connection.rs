//! A client's connection to a broker: a FIFO queue in each direction that breaks when something on
//! it would be lost, after which both sides learn that it is gone. Source: TCP, and Kafka's rule
//! that requests and answers on a connection keep their order.

use std::collections::VecDeque;

use broker_core::ids::ConnId;
use broker_core::protocol::{Request, Response};

use crate::world::layout::Endpoint;

/// What travels from client to broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Up {
    /// A request.
    Request(u32, Request),
    /// The end of the connection.
    Gone,
}

/// What travels from broker to client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Down {
    /// An answer.
    Response(u32, Response),
    /// The end of the connection.
    Gone,
}

/// A connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    /// Its id.
    pub id: ConnId,
    /// The client.
    pub client: Endpoint,
    /// The broker.
    pub broker: Endpoint,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
    client_side: Side,
    broker_side: Side,
}

/// What one side knows of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Side {
    /// It may send.
    Open,
    /// What it sends is lost, and word of the end is on its way to it.
    Doomed,
    /// It knows that the connection is gone.
    Over,
}

impl Connection {
    /// A new connection.
    #[must_use]
    pub fn new(id: ConnId, client: Endpoint, broker: Endpoint) -> Self {
        Self {
            id,
            client,
            broker,
            up: VecDeque::new(),
            down: VecDeque::new(),
            client_side: Side::Open,
            broker_side: Side::Open,
        }
    }

    /// The client sends. False if it is lost, of which the client will learn.
    pub fn send(&mut self, corr: u32, req: Request) -> bool {
        let open = self.client_side == Side::Open;
        if open {
            self.up.push_back(Up::Request(corr, req));
        }
        open
    }

    /// The broker sends. False if it is lost.
    pub fn reply(&mut self, corr: u32, resp: Response) -> bool {
        let open = self.broker_side == Side::Open && self.client_side != Side::Over;
        if open {
            self.down.push_back(Down::Response(corr, resp));
        }
        open
    }

    /// The client closes: what it sent still arrives. True if word of it is on its way up.
    pub fn close_by_client(&mut self) -> bool {
        let tell = self.client_side == Side::Open && self.broker_side == Side::Open;
        self.client_side = Side::Over;
        self.down.clear();
        if tell {
            self.up.push_back(Up::Gone);
            self.broker_side = Side::Doomed;
        }
        tell
    }

    /// The broker closes or dies: what it sent still arrives. True if word of it is on its way
    /// down.
    pub fn close_by_broker(&mut self) -> bool {
        let tell = self.broker_side != Side::Over && self.client_side == Side::Open;
        self.broker_side = Side::Over;
        self.up.clear();
        if tell {
            self.down.push_back(Down::Gone);
            self.client_side = Side::Doomed;
        }
        tell
    }

    /// Something on it is lost. Both sides that do not know yet will learn: says (up, down).
    pub fn break_off(&mut self) -> (bool, bool) {
        self.up.clear();
        self.down.clear();
        let up = self.broker_side != Side::Over;
        if up {
            self.up.push_back(Up::Gone);
            self.broker_side = Side::Doomed;
        }
        let down = self.client_side != Side::Over;
        if down {
            self.down.push_back(Down::Gone);
            self.client_side = Side::Doomed;
        }
        (up, down)
    }

    /// The next thing arrives at the broker.
    pub fn arrive_up(&mut self) -> Option<Up> {
        let first = self.up.pop_front()?;
        if first == Up::Gone {
            self.broker_side = Side::Over;
        }
        Some(first)
    }

    /// The next thing arrives at the client.
    pub fn arrive_down(&mut self) -> Option<Down> {
        let first = self.down.pop_front()?;
        if first == Down::Gone {
            self.client_side = Side::Over;
        }
        Some(first)
    }

    /// Whether something is on its way to the broker.
    #[must_use]
    pub fn has_up(&self) -> bool {
        !self.up.is_empty()
    }

    /// Whether something is on its way to the client.
    #[must_use]
    pub fn has_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// The next thing that will arrive at the broker.
    #[must_use]
    pub fn first_up(&self) -> Option<&Up> {
        self.up.front()
    }

    /// The next thing that will arrive at the client.
    #[must_use]
    pub fn first_down(&self) -> Option<&Down> {
        self.down.front()
    }

    /// Whether a request or an answer (not only word of the end) is on its way up, down.
    #[must_use]
    pub fn carries(&self) -> (bool, bool) {
        let up = self.up.front().is_some_and(|first| *first != Up::Gone);
        let down = self.down.front().is_some_and(|first| *first != Down::Gone);
        (up, down)
    }

    /// Both sides know that it is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.client_side == Side::Over && self.broker_side == Side::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::Metadata { topics: None }
    }

    fn connection() -> Connection {
        Connection::new(ConnId(1), Endpoint(2), Endpoint(1))
    }

    fn answer() -> Response {
        Response::DescribeConfigs(Ok(Vec::new()))
    }

    #[test]
    fn connection_keeps_the_order_in_each_direction() {
        let mut conn = connection();
        assert!(conn.send(1, request()) && conn.send(2, request()));
        assert!(conn.reply(1, answer()) && conn.reply(2, answer()));
        for corr in [1, 2] {
            assert_eq!(conn.arrive_up(), Some(Up::Request(corr, request())));
            assert_eq!(conn.arrive_down(), Some(Down::Response(corr, answer())));
        }
        assert_eq!(conn.arrive_up(), None);
    }

    #[test]
    fn connection_closed_by_the_client_delivers_what_was_sent() {
        let mut conn = connection();
        conn.send(1, request());
        conn.reply(7, answer());
        assert!(conn.close_by_client());
        assert!(!conn.has_down());
        assert!(!conn.reply(8, answer()));
        assert_eq!(conn.arrive_up(), Some(Up::Request(1, request())));
        assert!(!conn.is_over());
        assert_eq!(conn.arrive_up(), Some(Up::Gone));
        assert!(conn.is_over());
    }

    #[test]
    fn connection_of_a_dead_broker_delivers_what_it_sent() {
        let mut conn = connection();
        conn.send(1, request());
        conn.reply(7, answer());
        assert!(conn.close_by_broker());
        assert!(!conn.has_up() && !conn.send(2, request()));
        assert_eq!(conn.arrive_down(), Some(Down::Response(7, answer())));
        assert_eq!(conn.arrive_down(), Some(Down::Gone));
        assert!(conn.is_over());
    }

    #[test]
    fn connection_that_breaks_tells_both_sides_once_and_loses_all() {
        let mut conn = connection();
        conn.send(1, request());
        conn.reply(7, answer());
        assert_eq!(conn.break_off(), (true, true));
        assert_eq!(conn.break_off(), (true, true));
        assert!(!conn.send(2, request()) && !conn.reply(8, answer()));
        assert_eq!((conn.arrive_up(), conn.arrive_up()), (Some(Up::Gone), None));
        assert_eq!(conn.break_off(), (false, true));
        assert_eq!((conn.arrive_down(), conn.arrive_down()), (Some(Down::Gone), None));
        assert!(conn.is_over());
    }
}
