//! `coHosts.*`: tRPC in, service, tRPC out.

use super::model::{Candidate, CoHostCard, Mute, SeatState};
use super::service::{CoHosts, Overview};
use crate::caller::{Caller, SignedIn};
use crate::error::{Error, Text};
use crate::trpc::{Namespace, input, output};

pub(crate) fn namespace(co_hosts: CoHosts) -> Namespace<CoHosts> {
    Namespace::new("coHosts", co_hosts)
        .mutation("request", request)
        .mutation("invite", invite)
        .mutation("approve", approve)
        .mutation("accept", accept)
        .mutation("decline", decline)
        .mutation("leave", leave)
        .mutation("remove", remove)
        .mutation("mute", mute)
        .query("getCoHosts", get_co_hosts)
}

const REQUESTED: Text = Text::new("أُرسل طلبك إلى صاحب البث", "Your request was sent to the host");
const INVITED: Text = Text::new("أُرسلت الدعوة", "The invitation was sent");
const APPROVED: Text = Text::new("أصبح مضيفًا مشاركًا", "They are a co-host now");
const ACCEPTED: Text = Text::new("أصبحت مضيفًا مشاركًا", "You are a co-host now");
const DECLINED: Text = Text::new("تم الرفض", "Declined");
const LEFT: Text = Text::new("لم تعد مضيفًا مشاركًا", "You are no longer a co-host");
const REMOVED: Text = Text::new("لم يعد مضيفًا مشاركًا", "They are no longer a co-host");
const MUTED: Text = Text::new("كُتم الصوت", "Muted");
const UNMUTED: Text = Text::new("عاد الصوت", "Unmuted");

input! {
    /// The caller's own seat.
    pub(super) struct CoHostSession {
        session_id "sessionId": String = text(),
    }
}

input! {
    /// Somebody's seat, as the host means it.
    pub(super) struct CoHostSeat {
        session_id "sessionId": String = text(),
        user_id "userId": String = text(),
    }
}

input! {
    pub(super) struct DeclineCoHost {
        session_id "sessionId": String = text(),
        /// Whose request the host declines; without it the caller declines their own invitation.
        user_id "userId": Option<String> = text().optional(),
    }
}

output! {
    pub(super) struct CoHostMoved {
        success "success": bool,
        /// Where the seat stands now.
        state "state": SeatState,
        message "message": &'static str,
    }
}

async fn request(co_hosts: CoHosts, user: SignedIn, input: CoHostSession) -> Result<CoHostMoved, Error> {
    let state = co_hosts.request(&user, &input.session_id).await?;
    // Somebody who was invited needs nobody's consent any more.
    let text = if state == SeatState::Approved { ACCEPTED } else { REQUESTED };
    Ok(moved(&user, state, text))
}

async fn invite(co_hosts: CoHosts, host: SignedIn, input: CoHostSeat) -> Result<CoHostMoved, Error> {
    let state = co_hosts.invite(&host, &input.session_id, &input.user_id).await?;
    let text = if state == SeatState::Approved { APPROVED } else { INVITED };
    Ok(moved(&host, state, text))
}

async fn approve(co_hosts: CoHosts, host: SignedIn, input: CoHostSeat) -> Result<CoHostMoved, Error> {
    let state = co_hosts.approve(&host, &input.session_id, &input.user_id).await?;
    Ok(moved(&host, state, APPROVED))
}

async fn accept(co_hosts: CoHosts, user: SignedIn, input: CoHostSession) -> Result<CoHostMoved, Error> {
    let state = co_hosts.accept(&user, &input.session_id).await?;
    Ok(moved(&user, state, ACCEPTED))
}

async fn decline(co_hosts: CoHosts, caller: SignedIn, input: DeclineCoHost) -> Result<CoHostMoved, Error> {
    let state = co_hosts.decline(&caller, &input.session_id, input.user_id.as_deref()).await?;
    Ok(moved(&caller, state, DECLINED))
}

async fn leave(co_hosts: CoHosts, user: SignedIn, input: CoHostSession) -> Result<CoHostMoved, Error> {
    let state = co_hosts.leave(&user, &input.session_id).await?;
    Ok(moved(&user, state, LEFT))
}

async fn remove(co_hosts: CoHosts, host: SignedIn, input: CoHostSeat) -> Result<CoHostMoved, Error> {
    let state = co_hosts.remove(&host, &input.session_id, &input.user_id).await?;
    Ok(moved(&host, state, REMOVED))
}

fn moved(caller: &SignedIn, state: SeatState, text: Text) -> CoHostMoved {
    CoHostMoved { success: true, state, message: text.within(caller.language) }
}

input! {
    pub(super) struct MuteCoHost {
        session_id "sessionId": String = text(),
        user_id "userId": String = text(),
        muted "muted": bool = boolean(),
    }
}

output! {
    pub(super) struct CoHostMuted {
        success "success": bool,
        is_muted "isMuted": bool,
        mute "mute": Mute,
        message "message": &'static str,
    }
}

async fn mute(co_hosts: CoHosts, caller: SignedIn, input: MuteCoHost) -> Result<CoHostMuted, Error> {
    let mute = co_hosts.mute(&caller, &input.session_id, &input.user_id, input.muted).await?;
    let (is_muted, text) = (mute.is_muted(), if mute.is_muted() { MUTED } else { UNMUTED });
    Ok(CoHostMuted { success: true, is_muted, mute, message: text.within(caller.language) })
}

output! {
    pub(super) struct CoHostOverview {
        co_hosts "coHosts": Vec<CoHostCard>,
        /// Who asks, longest first; for the host alone.
        requests "requests": Option<Vec<Candidate>>,
        /// Who is invited and has not answered; for the host alone.
        invitations "invitations": Option<Vec<Candidate>>,
        /// Where the caller stands, if they ever asked or were invited.
        own_state "ownState": Option<SeatState>,
    }
}

async fn get_co_hosts(co_hosts: CoHosts, caller: Caller, input: CoHostSession) -> Result<CoHostOverview, Error> {
    let Overview { co_hosts, open, own } = co_hosts.overview(&caller, &input.session_id).await?;
    let (requests, invitations) = open.unzip();
    Ok(CoHostOverview { co_hosts, requests, invitations, own_state: own })
}
