//! `users.*`: tRPC in, service, tRPC out.

use super::model::Preferences;
use super::service::{Profile, Users};
use crate::caller::{Caller, Language};
use crate::clock::Timestamp;
use crate::error::{Error, Text};
use crate::id::{SessionId, UserId};
use crate::trpc::{Namespace, Nullable, input, output};

pub(crate) fn namespace(users: Users) -> Namespace<Users> {
    Namespace::new("users", users).query("getProfile", get_profile)
}

input! {
    pub(super) struct GetProfile {
        /// Absent: the caller's own.
        user_id "userId": Option<String> = text().optional(),
    }
}

output! {
    pub(super) struct ProfileAnswer {
        profile "profile": UserProfile,
        is_own_profile "isOwnProfile": bool,
    }
}

output! {
    /// The same members for everybody; what is not the asker's business is neutral.
    pub(super) struct UserProfile {
        id "id": UserId,
        username "username": String,
        display_name "displayName": String,
        avatar "avatar": String,
        bio "bio": Option<String>,
        level "level": i64,
        experience "experience": i64,
        next_level_exp "nextLevelExp": i64,
        /// Zero until there is a wallet.
        coins "coins": i64,
        diamonds "diamonds": i64,
        followers "followers": i64,
        following "following": i64,
        total_streams "totalStreams": i64,
        total_view_time "totalViewTime": i64,
        badges "badges": Vec<UserBadge>,
        achievements "achievements": Vec<UserAchievement>,
        stats "stats": UserStats,
        preferences "preferences": Preferences,
        joined_at "joinedAt": Timestamp,
        last_active "lastActive": Timestamp,
        is_online "isOnline": bool,
        current_stream_id "currentStreamId": Nullable<SessionId>,
    }
}

output! {
    pub(super) struct UserBadge {
        id "id": String,
        name "name": String,
        icon "icon": String,
        description "description": String,
    }
}

output! {
    pub(super) struct UserAchievement {
        id "id": String,
        name "name": String,
        description "description": String,
        icon "icon": String,
        unlocked_at "unlockedAt": Timestamp,
    }
}

output! {
    pub(super) struct UserStats {
        total_stream_time "totalStreamTime": u64,
        average_viewers "averageViewers": f64,
        peak_viewers "peakViewers": i64,
        total_gifts_received "totalGiftsReceived": i64,
        total_gifts_sent "totalGiftsSent": i64,
        favorite_category "favoriteCategory": String,
    }
}

async fn get_profile(users: Users, caller: Caller, input: GetProfile) -> Result<ProfileAnswer, Error> {
    let profile = users.profile(&caller, input.user_id.as_deref()).await?;
    Ok(ProfileAnswer { is_own_profile: profile.is_own, profile: view(profile, caller.language) })
}

fn view(profile: Profile, language: Language) -> UserProfile {
    let Profile { user, record, is_own, is_online } = profile;
    let next_level_exp = user.next_level_experience();
    let preferences = if is_own { user.preferences.clone() } else { Preferences::default() };
    // Others learn when somebody was here only as far as "online" already says it.
    let last_active =
        if is_own || user.preferences.privacy.show_online_status { user.last_active_at } else { user.created_at };
    UserProfile {
        id: user.id,
        username: user.username.as_str().to_owned(),
        display_name: user.display_name,
        avatar: user.avatar.unwrap_or_default(),
        bio: user.bio,
        level: user.level,
        experience: user.experience,
        next_level_exp,
        coins: 0,
        diamonds: 0,
        followers: 0,
        following: 0,
        total_streams: record.show_count,
        total_view_time: 0,
        badges: user.is_verified.then(|| verified_badge(language)).into_iter().collect(),
        achievements: Vec::new(),
        stats: UserStats {
            total_stream_time: record.streamed.as_secs(),
            average_viewers: average(record.viewers, record.show_count),
            peak_viewers: record.peak_viewers,
            total_gifts_received: 0,
            total_gifts_sent: 0,
            favorite_category: record.favorite_category.unwrap_or_default(),
        },
        preferences,
        joined_at: user.created_at,
        last_active,
        is_online,
        current_stream_id: Nullable(record.current),
    }
}

fn verified_badge(language: Language) -> UserBadge {
    const NAME: Text = Text::new("موثّق", "Verified");
    const DESCRIPTION: Text = Text::new("حساب تم التحقق منه", "An account whose owner was checked");
    UserBadge {
        id: "verified".to_owned(),
        name: NAME.within(language).to_owned(),
        icon: "✅".to_owned(),
        description: DESCRIPTION.within(language).to_owned(),
    }
}

/// Viewers per show, to one decimal.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn average(viewers: i64, shows: i64) -> f64 {
    if shows == 0 { 0.0 } else { (viewers as f64 / shows as f64 * 10.0).round() / 10.0 }
}
