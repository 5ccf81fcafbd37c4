//! Reason codes of MQTT 5 (section 2.4), and what 3.1.1 has instead of them.

/// A reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// It is done.
    pub const SUCCESS: Self = Self(0x00);
    /// The client leaves, and its will is to be published.
    pub const WITH_WILL: Self = Self(0x04);
    /// It is done, and nobody is subscribed.
    pub const NO_SUBSCRIBERS: Self = Self(0x10);
    /// There was no such subscription.
    pub const NO_SUBSCRIPTION: Self = Self(0x11);
    /// Something that has no code of its own.
    pub const UNSPECIFIED: Self = Self(0x80);
    /// A packet cannot be read.
    pub const MALFORMED: Self = Self(0x81);
    /// A packet can be read, but not be meant.
    pub const PROTOCOL: Self = Self(0x82);
    /// It is right, but not for this server.
    pub const IMPLEMENTATION: Self = Self(0x83);
    /// Another version of the protocol.
    pub const VERSION: Self = Self(0x84);
    /// The client's name is none.
    pub const CLIENT_ID: Self = Self(0x85);
    /// The password or token proves no identity.
    pub const PASSWORD: Self = Self(0x86);
    /// The identity has not the right, or there is none.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// Too much is under way.
    pub const BUSY: Self = Self(0x89);
    /// The gateway stops.
    pub const SHUTTING_DOWN: Self = Self(0x8b);
    /// This authentication method is none of the server's.
    pub const AUTH_METHOD: Self = Self(0x8c);
    /// Nothing was heard of the client for one and a half times its keep-alive.
    pub const KEEP_ALIVE: Self = Self(0x8d);
    /// Another connection has the client's name.
    pub const TAKEN_OVER: Self = Self(0x8e);
    /// The topic filter is none.
    pub const FILTER: Self = Self(0x8f);
    /// The topic name is none.
    pub const TOPIC: Self = Self(0x90);
    /// There is no such topic alias.
    pub const TOPIC_ALIAS: Self = Self(0x94);
    /// A packet is larger than the door takes.
    pub const TOO_LARGE: Self = Self(0x95);
    /// As many as may be.
    pub const QUOTA: Self = Self(0x97);
    /// Nothing is retained here.
    pub const RETAIN: Self = Self(0x9a);
    /// There is no QoS 2 here.
    pub const QOS: Self = Self(0x9b);

    /// Whether it says that something failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// What `CONNACK` of 3.1.1 says instead (section 3.2.2.3).
    pub(super) const fn of_connect_3(self) -> u8 {
        match self {
            Self::SUCCESS => 0,
            Self::VERSION => 1,
            Self::CLIENT_ID => 2,
            Self::PASSWORD => 4,
            Self::NOT_AUTHORIZED => 5,
            _ => 3,
        }
    }
}
