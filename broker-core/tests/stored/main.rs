//! What leaves a process as bytes comes back the same: every variant of all that nodes say, are
//! fed, and ask for.

mod draw;

use std::fmt::Debug;

use broker_core::format::{self, FormatError};
use broker_core::peer::PeerMsg;
use broker_core::peer::frame::{self, Frame};
use broker_core::step::{Cx, Effect, Input, Key};
use draw::Draw;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Draws values until every variant was drawn often, and has each come back.
fn comes_back<T>(draws: usize) -> Draw
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let mut draw = Draw::new(7);
    for _ in 0..draws {
        let value: T = match draw.value() {
            Ok(value) => value,
            Err(why) if why == "a probe is not stored" => continue,
            Err(why) => panic!("{why}"),
        };
        let bytes = postcard::to_allocvec(&value).unwrap();
        let (read, rest) = postcard::take_from_bytes::<T>(&bytes).expect("what was written");
        assert_eq!((read, rest), (value, &[][..]));
    }
    for ((name, variants), drawn) in &draw.drawn {
        for (variant, times) in variants.iter().zip(drawn) {
            assert!(*times > 0, "{name}::{variant} was never drawn");
        }
    }
    draw
}

#[test]
fn stored_message_of_every_kind_comes_back() {
    let draw = comes_back::<PeerMsg>(5_000);
    let variants: usize = draw.drawn.values().map(Vec::len).sum();
    assert!(draw.drawn.len() >= 25 && variants >= 150, "{} {variants}", draw.drawn.len());
    // No type holds itself, so that no bytes can make reading go deep.
    assert!(draw.depth_max <= 12, "{}", draw.depth_max);
}

#[test]
fn stored_input_of_every_kind_comes_back() {
    let draw = comes_back::<Input>(60_000);
    assert!(draw.drawn.keys().any(|(name, _)| *name == "TimerKey"));
    assert!(draw.depth_max <= 12, "{}", draw.depth_max);
}

#[test]
fn stored_effect_of_every_kind_but_probes_comes_back() {
    let draw = comes_back::<Effect>(100_000);
    assert!(draw.drawn.keys().any(|(name, _)| *name == "ObjOp"));
}

#[test]
fn stored_surroundings_come_back_without_planted_bugs() {
    let cx: Cx = Draw::new(3).value().unwrap();
    let bytes = postcard::to_allocvec(&cx).unwrap();
    let read: Cx = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(format!("{read:?}"), format!("{cx:?}"));
}

#[test]
fn stored_key_that_no_store_has_is_refused() {
    let read = |text: &str| {
        let bytes = postcard::to_allocvec(text).unwrap();
        postcard::from_bytes::<Key>(&bytes).map(|key| key.0.to_string()).ok()
    };
    let longest = "k".repeat(1_024);
    assert_eq!(read(&longest), Some(longest.clone()));
    for bad in ["a\nb", "wal/\u{e9}", "\u{7f}", &"k".repeat(1_025)] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
}

#[test]
fn stored_frame_comes_back_and_cut_or_longer_is_refused() {
    let mut draw = Draw::new(11);
    for _ in 0..300 {
        let frame: Frame = draw.value().unwrap();
        let mut bytes = frame::encode(&frame);
        if let Frame::Message(msg) = &frame {
            assert_eq!(frame::encode_message(msg), bytes);
        }
        for end in 0..bytes.len() {
            assert_eq!(frame::decode(&bytes[..end]), Err(FormatError::Short));
        }
        assert_eq!(frame::decode(&bytes).as_ref(), Ok(&frame));
        bytes.push(0);
        assert_eq!(frame::decode(&bytes), Err(FormatError::Body));
        let mut body = postcard::to_allocvec(&frame).unwrap();
        let older = format::seal(frame::MAGIC, frame::VERSION - 1, &body);
        assert_eq!(frame::decode(&older), Err(FormatError::Version(frame::VERSION - 1)));
        body.push(0);
        let longer = format::seal(frame::MAGIC, frame::VERSION, &body);
        assert_eq!(frame::decode(&longer), Err(FormatError::Body));
    }
}

/// A digest of many frames. If it changes, the layout of what nodes say has: raise
/// [`frame::VERSION`], then write the new digest here. Nodes of both would else misread each other.
#[test]
fn stored_frames_have_the_layout_of_their_version() {
    let mut draw = Draw::new(5);
    let frames: Vec<u8> =
        (0..2_000).flat_map(|_| frame::encode(&draw.value::<Frame>().unwrap())).collect();
    assert_eq!((frame::VERSION, format::crc32c(&frames)), (3, 1_205_265_796));
}
