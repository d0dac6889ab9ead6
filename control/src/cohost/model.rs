//! What a seat beside the host is and how it may change.

use crate::clock::Timestamp;
use crate::error::{Code, Refusal, Text};
use crate::id::UserId;
use crate::trpc::{choices, output};

/// Approved co-hosts of one session: with the host eight publishers, each of whom every viewer receives. A phone decodes no
/// more pictures at once, and the screen has no place for them.
pub(super) const CO_HOSTS_MAX: u32 = 7;
/// Requests a host has before them at once, and invitations they may have out. More is no choice any more, only a list;
/// whoever asks later is told to wait.
pub(super) const OPEN_MAX: u32 = 50;

choices! {
    /// Where a user stands with a session; no seat at all for those who never asked nor were invited.
    pub(crate) enum SeatState {
        /// Asked; waits for the host.
        Requested = "requested",
        /// Waits for the user.
        Invited = "invited",
        /// A co-host: may publish.
        Approved = "approved",
        /// A request or an invitation came to nothing.
        Declined = "declined",
        /// Sent away by the host.
        Removed = "removed",
        /// Went by themselves.
        Left = "left",
    }
}

impl SeatState {
    /// See [`Seat::opens_private`].
    pub(super) const fn opens_private(self) -> bool {
        match self {
            Self::Invited | Self::Approved => true,
            Self::Requested | Self::Declined | Self::Removed | Self::Left => false,
        }
    }
}

/// What somebody does about a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The user wants it. For somebody invited the same as [`Step::Accept`].
    Request,
    /// The host wants it. For somebody who asked the same as [`Step::Approve`].
    Invite,
    /// The host agrees to a request.
    Approve,
    /// The user agrees to an invitation.
    Accept,
    /// The user refuses an invitation or takes a request back.
    Decline,
    /// The host refuses a request or takes an invitation back.
    TurnDown,
    /// The user has enough.
    Leave,
    /// The host has enough.
    Remove,
}

impl Step {
    /// Whether it is the host's to take; otherwise the user's whose seat it is.
    pub(super) const fn is_the_hosts(self) -> bool {
        match self {
            Self::Invite | Self::Approve | Self::TurnDown | Self::Remove => true,
            Self::Request | Self::Accept | Self::Decline | Self::Leave => false,
        }
    }

    /// Where the seat stands after this step; the same state when the step was taken before.
    pub(super) const fn from(self, state: Option<SeatState>) -> Result<SeatState, Refusal> {
        use SeatState::{Approved, Declined, Invited, Left, Removed, Requested};
        match (self, state) {
            (Self::Request, None | Some(Requested | Declined | Left)) => Ok(Requested),
            (Self::Request, Some(Invited | Approved)) => Ok(Approved),
            (Self::Request, Some(Removed)) => Err(WAS_REMOVED),

            (Self::Invite, None | Some(Invited | Declined | Removed | Left)) => Ok(Invited),
            (Self::Invite, Some(Requested | Approved)) => Ok(Approved),

            (Self::Approve, Some(Requested | Approved)) => Ok(Approved),
            (Self::Approve, None | Some(Invited | Declined | Removed | Left)) => Err(NOT_REQUESTED),

            (Self::Accept, Some(Invited | Approved)) => Ok(Approved),
            (Self::Accept, None | Some(Requested | Declined | Removed | Left)) => Err(NOT_INVITED),

            (Self::Decline | Self::TurnDown, Some(Requested | Invited | Declined)) => Ok(Declined),
            (Self::Decline | Self::TurnDown, None | Some(Approved | Removed | Left)) => Err(NOTHING_OPEN),

            (Self::Leave, Some(Approved | Left)) => Ok(Left),
            (Self::Leave, None | Some(Requested | Invited | Declined | Removed)) => Err(NOT_CO_HOST),

            (Self::Remove, Some(Requested | Invited | Approved | Removed)) => Ok(Removed),
            (Self::Remove, None | Some(Declined | Left)) => Err(NOT_CO_HOST),
        }
    }
}

choices! {
    /// Whether a co-host is heard, and whose word silenced them.
    pub(crate) enum Mute {
        Open = "open",
        Own = "self",
        /// Only the host undoes it.
        Host = "host",
    }
}

impl Mute {
    pub(crate) const fn is_muted(self) -> bool {
        !matches!(self, Self::Open)
    }

    /// After the host or the co-host silences or lets speak.
    pub(super) const fn after(self, by_host: bool, muted: bool) -> Result<Self, Refusal> {
        match (self, by_host, muted) {
            (Self::Open | Self::Own | Self::Host, true, true) => Ok(Self::Host),
            (Self::Open | Self::Own | Self::Host, true, false) => Ok(Self::Open),
            (Self::Open | Self::Own, false, true) => Ok(Self::Own),
            (Self::Open | Self::Own, false, false) => Ok(Self::Open),
            (Self::Host, false, true) => Ok(Self::Host),
            (Self::Host, false, false) => Err(MUTED_BY_HOST),
        }
    }
}

/// Where one user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) state: SeatState,
    pub(crate) mute: Mute,
}

impl Seat {
    pub(crate) fn is_approved(&self) -> bool {
        self.state == SeatState::Approved
    }

    /// Whether a session that is closed to others is open to them.
    pub(crate) fn opens_private(&self) -> bool {
        self.state.opens_private()
    }
}

output! {
    /// A co-host as everybody sees them: the same shape in answers and in `co_hosts`.
    #[derive(PartialEq, Eq)]
    pub(crate) struct CoHostCard {
        user_id "userId": UserId,
        name "name": String,
        avatar "avatar": String,
        /// Media of theirs arrives now.
        is_live "isLive": bool,
        is_muted "isMuted": bool,
        mute "mute": Mute,
        /// Plays at `/whep/<broadcastId>` and `/hls/<broadcastId>/index.m3u8`.
        broadcast_id "broadcastId": String,
    }
}

output! {
    /// Somebody one side still waits for.
    #[derive(PartialEq, Eq)]
    pub(crate) struct Candidate {
        user_id "userId": UserId,
        name "name": String,
        avatar "avatar": String,
        since "since": Timestamp,
    }
}

const WAS_REMOVED: Refusal = Refusal::new(
    Code::Forbidden,
    "removed_by_host",
    Text::new(
        "أزالك صاحب البث، ولا يمكنك الطلب مجددًا إلا بدعوة منه",
        "The host removed you; only they can invite you again",
    ),
);
const NOT_REQUESTED: Refusal = Refusal::new(
    Code::Conflict,
    "no_co_host_request",
    Text::new("لا يوجد طلب مشاركة من هذا المستخدم", "This user has not asked to be a co-host"),
);
const NOT_INVITED: Refusal = Refusal::new(
    Code::Forbidden,
    "not_invited",
    Text::new("لا توجد دعوة لك في هذا البث", "You have no invitation to this session"),
);
const NOTHING_OPEN: Refusal = Refusal::new(
    Code::Conflict,
    "nothing_to_decline",
    Text::new("لا يوجد طلب أو دعوة لرفضها", "There is no request or invitation to decline"),
);
const NOT_CO_HOST: Refusal = Refusal::new(
    Code::Conflict,
    "not_a_co_host",
    Text::new("هذا المستخدم ليس مضيفًا مشاركًا في هذا البث", "This user is not a co-host of this session"),
);
const MUTED_BY_HOST: Refusal = Refusal::new(
    Code::Forbidden,
    "muted_by_host",
    Text::new("كتم صاحب البث صوتك، وهو وحده من يعيده", "The host muted you, and only they can undo it"),
);

impl Seat {
    /// The same co-host, silenced or let speak.
    pub(super) fn muted(self, by_host: bool, muted: bool) -> Result<Self, Refusal> {
        if !self.is_approved() {
            return Err(NOT_CO_HOST);
        }
        Ok(Self { mute: self.mute.after(by_host, muted)?, ..self })
    }

    /// Somebody without a seat, asked to be silent.
    pub(super) const MISSING: Refusal = NOT_CO_HOST;
}

#[cfg(test)]
mod tests {
    use SeatState::{Approved, Declined, Invited, Left, Removed, Requested};

    use super::*;

    const STATES: [Option<SeatState>; 7] =
        [None, Some(Requested), Some(Invited), Some(Approved), Some(Declined), Some(Removed), Some(Left)];

    /// Where a step leads from each of [`STATES`]; a text is the reason it is refused with.
    fn outcomes(step: Step) -> [Result<SeatState, &'static str>; 7] {
        STATES.map(|state| step.from(state).map_err(|refusal| refusal.reason))
    }

    #[test]
    fn request_waits_for_the_host_unless_they_invited() {
        let removed = Err("removed_by_host");
        assert_eq!(
            outcomes(Step::Request),
            [Ok(Requested), Ok(Requested), Ok(Approved), Ok(Approved), Ok(Requested), removed, Ok(Requested)]
        );
    }

    #[test]
    fn invitation_waits_for_the_user_unless_they_asked() {
        assert_eq!(
            outcomes(Step::Invite),
            [Ok(Invited), Ok(Approved), Ok(Invited), Ok(Approved), Ok(Invited), Ok(Invited), Ok(Invited)]
        );
    }

    #[test]
    fn approval_needs_a_request() {
        let no = Err("no_co_host_request");
        assert_eq!(outcomes(Step::Approve), [no, Ok(Approved), no, Ok(Approved), no, no, no]);
    }

    #[test]
    fn accepting_needs_an_invitation() {
        let no = Err("not_invited");
        assert_eq!(outcomes(Step::Accept), [no, no, Ok(Approved), Ok(Approved), no, no, no]);
    }

    #[test]
    fn what_is_open_may_be_declined_by_both_sides() {
        let no = Err("nothing_to_decline");
        for step in [Step::Decline, Step::TurnDown] {
            assert_eq!(outcomes(step), [no, Ok(Declined), Ok(Declined), no, Ok(Declined), no, no]);
        }
    }

    #[test]
    fn only_a_co_host_leaves() {
        let no = Err("not_a_co_host");
        assert_eq!(outcomes(Step::Leave), [no, no, no, Ok(Left), no, no, Ok(Left)]);
    }

    #[test]
    fn host_removes_whoever_is_or_wants_to_be_there() {
        let no = Err("not_a_co_host");
        assert_eq!(outcomes(Step::Remove), [no, Ok(Removed), Ok(Removed), Ok(Removed), no, Ok(Removed), no]);
    }

    #[test]
    fn host_has_the_last_word_on_who_is_heard() {
        for mute in [Mute::Open, Mute::Own, Mute::Host] {
            assert_eq!(mute.after(true, true), Ok(Mute::Host));
            assert_eq!(mute.after(true, false), Ok(Mute::Open));
        }
        for mute in [Mute::Open, Mute::Own] {
            assert_eq!(mute.after(false, true), Ok(Mute::Own));
            assert_eq!(mute.after(false, false), Ok(Mute::Open));
        }
        assert_eq!(Mute::Host.after(false, true), Ok(Mute::Host));
        assert_eq!(Mute::Host.after(false, false), Err(MUTED_BY_HOST));
    }

    #[test]
    fn only_an_approved_seat_is_silenced() {
        for state in [Requested, Invited, Declined, Removed, Left] {
            assert_eq!(Seat { state, mute: Mute::Open }.muted(true, true), Err(NOT_CO_HOST));
        }
        let silenced = Seat { state: Approved, mute: Mute::Host };
        assert_eq!(Seat { state: Approved, mute: Mute::Open }.muted(true, true), Ok(silenced));
    }
}
