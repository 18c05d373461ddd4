//! `session-token`: makes a token with which a person joins a Video SDK session, to test a set-up of recordings.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use secrecy::ExposeSecret;

use super::{Common, failed};
use crate::clock::Clock;
use crate::config::Secrets;
use crate::config::secrets::SdkCredentials;
use crate::domain::account::DEFAULT_ACCOUNT;
use crate::zoom::session_token::{self, LIFE_SECS, MAX_TOPIC_CHARS, SessionClaims};

/// Options of `session-token`.
#[derive(Debug, Args)]
pub(super) struct SessionTokenArgs {
    /// Name of the session (claim `tpc`).
    #[arg(long, value_name = "NAME", value_parser = topic)]
    topic: String,
    /// Who joins with it. Only a host's token decides what is recorded.
    #[arg(long, value_enum, default_value_t = Role::Host)]
    role: Role,
    /// What your client calls whoever joins (claim `user_identity`).
    #[arg(long, value_name = "TEXT")]
    user_identity: Option<String>,
    /// What your client calls the session (claim `session_key`).
    #[arg(long, value_name = "TEXT")]
    session_key: Option<String>,
    /// 1: each user is recorded into files of their own; Zoom has to enable it for the account.
    #[arg(long, value_name = "0|1", value_parser = value_parser!(u8).range(0..=1))]
    cloud_recording_option: Option<u8>,
    /// 1: whoever joins with this token lets themselves be recorded so.
    #[arg(long, value_name = "0|1", value_parser = value_parser!(u8).range(0..=1))]
    cloud_recording_election: Option<u8>,
    /// 0: neither; 1: a transcript; 2: a transcript and a summary. Each is charged for.
    #[arg(long, value_name = "0|1|2", value_parser = value_parser!(u8).range(0..=2))]
    cloud_recording_transcript_option: Option<u8>,
    /// Whose SDK key and SDK secret sign it: the name that the settings give to the account, `default` for those of the
    /// environment. Needed where there are several.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// How long the token is good, in seconds, 1800 to 172800.
    #[arg(long, value_name = "SECS", default_value_t = 7200,
        value_parser = value_parser!(u64).range(*LIFE_SECS.start()..=*LIFE_SECS.end()))]
    valid_secs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Host or co-host.
    Host,
    /// Anybody else.
    Participant,
}

pub(super) fn run(common: &Common, args: SessionTokenArgs) -> ExitCode {
    let secrets = match common.load() {
        Ok((_, secrets)) => secrets,
        Err(error) => return failed(&error.to_string()),
    };
    let credentials = match credentials(&secrets, args.account.as_deref()) {
        Ok(credentials) => credentials,
        Err(message) => return failed(&message),
    };
    let claims = SessionClaims {
        topic: args.topic,
        is_host: args.role == Role::Host,
        user_identity: args.user_identity,
        session_key: args.session_key,
        cloud_recording_option: args.cloud_recording_option,
        cloud_recording_election: args.cloud_recording_election,
        cloud_recording_transcript_option: args.cloud_recording_transcript_option,
        life: Duration::from_secs(args.valid_secs),
    };
    let token = session_token::mint(&claims, &credentials, Clock::System.now());
    match writeln!(io::stdout().lock(), "{}", token.expose_secret()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

/// What the token is signed with, of the account with this name or of the only one that has any.
fn credentials(secrets: &Secrets, name: Option<&str>) -> Result<SdkCredentials, String> {
    let own = secrets.sdk.clone().map(|sdk| (DEFAULT_ACCOUNT.to_owned(), sdk));
    let others = secrets.accounts.iter().filter_map(|it| Some((it.name.clone(), it.sdk.clone()?)));
    let mut able: Vec<_> = own.into_iter().chain(others).collect();
    let names = able.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, able.len()) {
        (_, 0) => Err("ZOOM_VIDEO_SDK_KEY and ZOOM_VIDEO_SDK_SECRET are not set, nor video_sdk_key and video_sdk_secret of \
                       any of [[zoom.accounts]]: they are the SDK key and SDK secret of the Video SDK app (not its API key \
                       and API secret)"
            .to_owned()),
        (None, 1) => Ok(able.remove(0).1),
        (None, _) => Err(format!("which account? say --account with one of: {names}")),
        (Some(name), _) => able
            .into_iter()
            .find_map(|(known, sdk)| (known == name).then_some(sdk))
            .ok_or_else(|| format!("no account `{name}` with an SDK key and SDK secret; there is: {names}")),
    }
}

fn topic(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("a session has a name".to_owned()),
        chars if chars > MAX_TOPIC_CHARS => Err(format!("at most {MAX_TOPIC_CHARS} characters")),
        _ => Ok(text.to_owned()),
    }
}
