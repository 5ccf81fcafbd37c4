//! Listens on what a router tells a client: which tag sets it quenches, for the checker of quench.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_proto::DecodeError;
use millrace_proto::control::ControlFrame;
use millrace_proto::data::FRAME_BYTES_MAX;
use millrace_proto::frame::FrameReader;
use millrace_verify::checker::copies::Place;
use millrace_verify::checker::quench::Told;

/// Where quenches gather until the world takes them.
pub(crate) type Quenchings = Rc<RefCell<Vec<Told>>>;

/// Listens on one control stream.
#[derive(Debug)]
pub(super) struct QuenchTap {
    reader: FrameReader,
    conn: u64,
    core: Place,
    quenchings: Quenchings,
}

impl QuenchTap {
    pub(super) fn new(conn: u64, core: Place, quenchings: Quenchings) -> Self {
        Self { reader: FrameReader::new(), conn, core, quenchings }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Self { reader, conn, core, quenchings } = self;
        // What the program writes is well-formed; if it is not, its reader says so and closes.
        let _ = reader.feed::<DecodeError>(bytes, FRAME_BYTES_MAX, |kind, body| {
            if let Ok(ControlFrame::Quench(quench)) = ControlFrame::decode(kind, body) {
                let told = Told { conn: *conn, core: *core, tag_sets: quench.tag_sets };
                quenchings.borrow_mut().push(told);
            }
            Ok(())
        });
    }
}
