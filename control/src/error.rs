//! The one mapping from what went wrong to what the caller is told: a code, a status and a public sentence.
//!
//! Slices state their refusals as constants, each with a stable reason and the sentence in both languages:
//!
//! ```ignore
//! const NO_SUCH_SESSION: Refusal =
//!     Refusal::new(Code::NotFound, "no_such_session", Text::new("البث غير موجود", "There is no such session"));
//! ```
//!
//! Anything else is our own trouble: it is logged where it is answered, and the caller reads a general sentence.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::caller::Language;
use crate::db::DbError;

/// tRPC's error codes, each with its number and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    ParseError,
    BadRequest,
    Unauthorized,
    PaymentRequired,
    Forbidden,
    NotFound,
    MethodNotSupported,
    Timeout,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnprocessableContent,
    TooManyRequests,
    ClientClosedRequest,
    InternalServerError,
    NotImplemented,
    BadGateway,
    ServiceUnavailable,
    GatewayTimeout,
}

impl Code {
    /// `data.code` on the wire.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// `error.code` on the wire: tRPC's extension of the JSON-RPC numbers.
    pub const fn number(self) -> i32 {
        self.row().1
    }

    pub const fn status(self) -> u16 {
        self.row().2
    }

    pub fn http(self) -> StatusCode {
        StatusCode::from_u16(self.status()).expect("every status in the table is valid")
    }

    const fn row(self) -> (&'static str, i32, u16) {
        match self {
            Self::ParseError => ("PARSE_ERROR", -32700, 400),
            Self::BadRequest => ("BAD_REQUEST", -32600, 400),
            Self::Unauthorized => ("UNAUTHORIZED", -32001, 401),
            Self::PaymentRequired => ("PAYMENT_REQUIRED", -32002, 402),
            Self::Forbidden => ("FORBIDDEN", -32003, 403),
            Self::NotFound => ("NOT_FOUND", -32004, 404),
            Self::MethodNotSupported => ("METHOD_NOT_SUPPORTED", -32005, 405),
            Self::Timeout => ("TIMEOUT", -32008, 408),
            Self::Conflict => ("CONFLICT", -32009, 409),
            Self::PreconditionFailed => ("PRECONDITION_FAILED", -32012, 412),
            Self::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", -32013, 413),
            Self::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", -32015, 415),
            Self::UnprocessableContent => ("UNPROCESSABLE_CONTENT", -32022, 422),
            Self::TooManyRequests => ("TOO_MANY_REQUESTS", -32029, 429),
            Self::ClientClosedRequest => ("CLIENT_CLOSED_REQUEST", -32099, 499),
            Self::InternalServerError => ("INTERNAL_SERVER_ERROR", -32603, 500),
            Self::NotImplemented => ("NOT_IMPLEMENTED", -32603, 501),
            Self::BadGateway => ("BAD_GATEWAY", -32603, 502),
            Self::ServiceUnavailable => ("SERVICE_UNAVAILABLE", -32603, 503),
            Self::GatewayTimeout => ("GATEWAY_TIMEOUT", -32603, 504),
        }
    }
}

/// A sentence for people, in both languages of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    pub ar: &'static str,
    pub en: &'static str,
}

impl Text {
    pub const fn new(ar: &'static str, en: &'static str) -> Self {
        Self { ar, en }
    }

    pub const fn within(self, language: Language) -> &'static str {
        match language {
            Language::Arabic => self.ar,
            Language::English => self.en,
        }
    }
}

/// A rule of ours said no. `reason` is stable, for code on the other side and for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused: {reason}")]
pub struct Refusal {
    pub code: Code,
    pub reason: &'static str,
    pub text: Text,
}

impl Refusal {
    pub const fn new(code: Code, reason: &'static str, text: Text) -> Self {
        Self { code, reason, text }
    }
}

/// Why a control request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input does not fit; the text is the validator's list of issues.
    #[error("input refused")]
    Input(String),
    /// The request cannot be read or routed; a plain English sentence for the developer who sent it.
    #[error("{message}")]
    Request { code: Code, message: String },
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Refused for now.
    #[error("{refusal}, retry after {retry_after:?}")]
    Wait { refusal: Refusal, retry_after: Duration },
    #[error(transparent)]
    Database(#[from] DbError),
    /// A defect of ours, told to nobody but the log.
    #[error("{0}")]
    Internal(Cow<'static, str>),
}

impl Error {
    pub fn code(&self) -> Code {
        match self {
            Self::Input(_) => Code::BadRequest,
            Self::Request { code, .. } => *code,
            Self::Refused(refusal) | Self::Wait { refusal, .. } => refusal.code,
            Self::Database(DbError::Contended(_) | DbError::Unavailable(_)) => Code::ServiceUnavailable,
            Self::Database(_) | Self::Internal(_) => Code::InternalServerError,
        }
    }

    /// What the caller reads. Never more than a rule's own sentence: no statement, path or cause.
    pub fn public(&self, language: Language) -> Cow<'_, str> {
        match self {
            Self::Input(issues) => Cow::Borrowed(issues),
            Self::Request { message, .. } => Cow::Borrowed(message),
            Self::Refused(refusal) | Self::Wait { refusal, .. } => Cow::Borrowed(refusal.text.within(language)),
            Self::Database(_) | Self::Internal(_) if self.code() == Code::ServiceUnavailable => {
                Cow::Borrowed(BUSY.within(language))
            }
            Self::Database(_) | Self::Internal(_) => Cow::Borrowed(BROKEN.within(language)),
        }
    }

    /// The stable word for `data.reason`, where a rule has one.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) | Self::Wait { refusal, .. } => Some(refusal.reason),
            _ => None,
        }
    }

    /// When it makes sense to ask again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Wait { retry_after, .. } => Some(*retry_after),
            Self::Database(DbError::Contended(_) | DbError::Unavailable(_)) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether it is our trouble and belongs in the log.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Internal(_))
    }
}

/// Refused because nobody is signed in, or the token is no longer good.
pub const SIGN_IN: Refusal =
    Refusal::new(Code::Unauthorized, "sign_in", Text::new("يرجى تسجيل الدخول للمتابعة", "Please sign in to continue"));

/// Refused because the same caller asked too often.
pub const TOO_OFTEN: Refusal = Refusal::new(
    Code::TooManyRequests,
    "too_often",
    Text::new("طلبات كثيرة جدًا، يرجى المحاولة بعد قليل", "Too many requests, please try again shortly"),
);

const BUSY: Text = Text::new("الخدمة مشغولة، يرجى المحاولة بعد قليل", "The service is busy, please try again shortly");
const BROKEN: Text = Text::new("حدث خطأ غير متوقع", "Something went wrong on our side");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_trouble_is_never_told() {
        let error = Error::Internal("password column is empty for bob".into());
        assert_eq!(error.code(), Code::InternalServerError);
        assert_eq!(error.public(Language::English), BROKEN.en);
        let lost = Error::Database(DbError::Unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(lost.code(), Code::ServiceUnavailable);
        assert_eq!(lost.public(Language::Arabic), BUSY.ar);
        assert_eq!(lost.retry_after(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn refusals_speak_the_callers_language() {
        let error = Error::from(SIGN_IN);
        assert_eq!(error.public(Language::English), "Please sign in to continue");
        assert_eq!(error.public(Language::Arabic), SIGN_IN.text.ar);
        assert_eq!(error.reason(), Some("sign_in"));
    }
}
