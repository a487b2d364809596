//! From an endpoint to a connection that is logged in, named, and known: used by workers and for exclusive
//! connections. What is known of the upstream already is not asked again, but for which process it is and what role
//! it has. One deadline holds for all of it.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use resp::{Value, ValueError};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    settings::{
        endpoint::Endpoint,
        ours::{Carries, PARAMETERS},
        settings::Settings,
    },
    upstream::{
        facts::{Asked, Facts},
        login::{
            question::{Question, is_for_now, misnamed, outcome, pairs, take_config, take_info},
            talk::{NOT_OK, Talk, error_words},
        },
        stream::Stream,
    },
};

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("connection failed during login: {0}")]
    Io(io::Error),
    #[error("no answer within connect_timeout_ms ({} ms)", .0.as_millis())]
    Timeout(Duration),
    #[error("no answer within connect_timeout_ms ({} ms) by TLS: does the upstream speak it there?", .0.as_millis())]
    TlsTimeout(Duration),
    #[error("login refused: {0}")]
    Refused(String),
    #[error("not a Redis: {0}")]
    Malformed(#[from] ValueError),
    #[error("more replies than requests during login")]
    Unasked,
    /// It takes a name by which callers go for another command.
    #[error(
        "{name} is another command there, {own}: rename-command has to give {own} a name that no version of Redis or \
         Valkey has"
    )]
    Misnamed { name: &'static str, own: Arc<str> },
    /// The address leads elsewhere than the connections that there are.
    #[error("{0}")]
    Astray(String),
    /// The turn would not come soon; holds why the last attempt failed.
    #[error("{0}")]
    Untried(String),
}

impl LoginError {
    /// The upstream is there and says no: asking again soon is of no use.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Misnamed { .. } | Self::Astray(_) | Self::Untried(_) => true,
            Self::Connect(_)
            | Self::Io(_)
            | Self::Timeout(_)
            | Self::TlsTimeout(_)
            | Self::Malformed(_)
            | Self::Unasked => false,
        }
    }
}

/// A connection that is logged in. It speaks RESP2.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) stream: Stream,
    pub(crate) facts: Facts,
    /// As `CLIENT ID` of the upstream says it.
    pub(crate) id: Option<i64>,
    /// The database it is in.
    pub(crate) db: u32,
}

/// Connects, logs in, names the connection `name` and asks who is there, beyond what is `known`.
pub(crate) async fn login(settings: &Settings, name: &str, known: Option<&Facts>) -> Result<Arrived, LoginError> {
    let Settings { ref endpoint, command_names: names, connect_timeout: deadline, .. } = *settings;
    let attempt = async {
        let stream = Stream::dial(endpoint, Carries::under(name)).await.map_err(LoginError::Connect)?;
        let talk = Talk::new(stream);
        let (facts, config) = (Facts { misnamed: None, ..known.cloned().unwrap_or_default() }, HashMap::new());
        let mut login = Login { talk, endpoint, name, names, facts, id: None, db: 0, greeted: false, config };
        match known.filter(|known| known.is_whole()) {
            _ if endpoint.guest => login.as_guest().await?,
            Some(known) => login.again(known).await?,
            None => login.first().await?,
        }
        let Login { talk, facts, id, db, .. } = login;
        Ok(Arrived { stream: talk.end()?, facts, id, db })
    };
    timeout(deadline, attempt).await.unwrap_or_else(|_| {
        Err(if endpoint.is_tls() { LoginError::TlsTimeout(deadline) } else { LoginError::Timeout(deadline) })
    })
}

/// A login under way.
struct Login<'a> {
    talk: Talk,
    endpoint: &'a Endpoint,
    name: &'a str,
    /// Of commands, by which callers go.
    names: &'static [&'static str],
    facts: Facts,
    id: Option<i64>,
    db: u32,
    /// It has answered a `HELLO 2`.
    greeted: bool,
    /// What `CONFIG GET` has said so far.
    config: HashMap<String, String>,
}

impl Login<'_> {
    /// To an upstream of which everything is known, unless it is another one by now.
    async fn again(&mut self, known: &Facts) -> Result<(), LoginError> {
        let mut questions = self.opening();
        match known.told.hello {
            Asked::Told if known.told.named_by_hello => questions.push(Question::Hello2Named),
            Asked::Told if known.told.name == Asked::Refused => questions.push(Question::Hello2),
            Asked::Told => questions.extend([Question::Hello2, Question::SetName]),
            // Even an error shows that somebody is there.
            Asked::NotYet | Asked::Refused => questions.push(Question::SetName),
        }
        if known.told.info == Asked::Told {
            questions.push(Question::Process);
        }
        questions.extend(self.closing());
        self.ask(&questions).await?;
        let (is, was) = (&self.facts, known);
        let greets = self.greeted == (was.told.hello == Asked::Told);
        if greets && (&is.run_id, is.role, is.version()) == (&was.run_id, was.role, was.version()) {
            return Ok(());
        }
        // It is another one, or has become something else.
        self.facts = Facts { refused_db: self.facts.refused_db.take(), ..Facts::default() };
        self.greet().await?;
        self.rest().await
    }

    /// As somebody whose rights are not known: what is not needed is not asked, since a refusal stands in the upstream's
    /// log of those.
    async fn as_guest(&mut self) -> Result<(), LoginError> {
        let mut questions = self.opening();
        questions.push(Question::Hello2Named);
        questions.extend(self.closing());
        self.ask(&questions).await
    }

    /// To an upstream of which nothing is known, or not all.
    async fn first(&mut self) -> Result<(), LoginError> {
        let mut questions = self.opening();
        questions.extend(self.closing());
        self.ask(&questions).await?;
        self.greet().await?;
        self.rest().await
    }

    /// Who is there, and what does it speak?
    async fn greet(&mut self) -> Result<(), LoginError> {
        self.ask(&[Question::Hello3, Question::Hello2Named]).await?;
        if !self.facts.told.named_by_hello && self.facts.hello3.is_some() {
            // It knows the command and not the option.
            self.ask(&[Question::Hello2]).await?;
        }
        Ok(())
    }

    /// What is asked once and holds for all connections.
    async fn rest(&mut self) -> Result<(), LoginError> {
        let knows_hello = self.facts.told.hello == Asked::Told;
        if !knows_hello {
            // Older than Redis 6, or no Redis: what it is and does is not asked.
            self.facts.told.info = Asked::Refused;
        }
        if self.names.is_empty() {
            self.facts.told.names = Asked::Refused;
        } else if self.facts.told.names == Asked::NotYet {
            // Before all that has another name: it might be another command.
            self.ask(&[Question::Names(self.names)]).await?;
        }
        let at_once = if self.facts.is_since(7, 0) { PARAMETERS.len() } else { 1 };
        let mut questions = Vec::new();
        if !self.facts.told.named_by_hello {
            questions.push(Question::SetName);
        }
        if self.facts.told.config == Asked::NotYet {
            questions.push(Question::Config(at_once));
        }
        if self.facts.told.info == Asked::NotYet {
            questions.push(Question::Info);
        }
        self.ask(&questions).await?;
        if self.facts.told.config == Asked::Told && knows_hello {
            let others: Vec<_> = (at_once..PARAMETERS.len()).map(Question::ConfigOne).collect();
            self.ask(&others).await?;
        }
        if self.facts.told.config == Asked::Told {
            take_config(&mut self.facts, &self.config);
        }
        Ok(())
    }

    fn opening(&self) -> Vec<Question> {
        self.endpoint.login().is_some().then_some(Question::LogIn).into_iter().collect()
    }

    fn closing(&self) -> impl Iterator<Item = Question> + use<> {
        let select = (self.endpoint.db != 0).then_some(Question::Select);
        select.into_iter().chain(self.endpoint.of_replica.then_some(Question::ReadOnly))
    }

    async fn ask(&mut self, questions: &[Question]) -> Result<(), LoginError> {
        let db = self.endpoint.db.to_string();
        let requests: Vec<_> =
            questions.iter().map(|question| question.request(self.endpoint, self.name, &db)).collect();
        self.talk.send(&requests).await?;
        for question in questions {
            let reply = self.talk.reply().await?;
            self.answered(*question, &reply)?;
        }
        Ok(())
    }

    fn answered(&mut self, question: Question, reply: &Bytes) -> Result<(), LoginError> {
        let (words, asked) = (error_words(reply), outcome(reply));
        let told = &mut self.facts.told;
        match (question, words) {
            (Question::LogIn | Question::ReadOnly, Some(words)) => return Err(LoginError::Refused(words)),
            (Question::LogIn, None) if reply[..] != *b"+OK\r\n" => return Err(LoginError::Refused(NOT_OK.to_owned())),
            (_, Some(words)) if is_refused_login(&words) => return Err(LoginError::Refused(words)),
            (Question::LogIn | Question::ReadOnly, None) => {}
            (Question::Hello3, words) => {
                self.facts.hello3 = None;
                told.hello = asked;
                if words.is_none() {
                    self.facts.take_hello3(reply);
                }
            }
            (Question::Hello2 | Question::Hello2Named, None) => {
                (told.hello, told.named_by_hello) = (Asked::Told, question == Question::Hello2Named);
                self.greeted = true;
                self.id = self.facts.take_hello2(reply);
            }
            (Question::Hello2 | Question::Hello2Named, Some(_)) => {}
            (Question::SetName, _) => told.name = asked,
            (Question::Names(names), _) => {
                told.names = asked;
                if let Some((name, own)) = misnamed(names, reply) {
                    return Err(LoginError::Misnamed { name, own });
                }
            }
            (Question::Config(_), _) => {
                told.config = asked;
                self.config.extend(pairs(Value::decode(reply)?.0));
            }
            (Question::ConfigOne(_), _) => self.config.extend(pairs(Value::decode(reply)?.0)),
            (Question::Process | Question::Info, None) => {
                told.info = Asked::Told;
                take_info(&mut self.facts, &Value::decode(reply)?.0);
            }
            (Question::Info, Some(_)) => told.info = asked,
            // It was told before, and is no less known now.
            (Question::Process, Some(_)) => {}
            (Question::Select, None) => {
                self.db = self.endpoint.db;
                self.facts.refused_db = None;
            }
            (Question::Select, Some(words)) if is_for_now(&words) => {}
            (Question::Select, Some(words)) => self.facts.refused_db = Some((self.endpoint.db, words.into())),
        }
        Ok(())
    }
}

/// An error that refuses the connection and not only the request.
fn is_refused_login(words: &str) -> bool {
    ["NOAUTH ", "DENIED ", "WRONGPASS ", "ERR max number of clients"].iter().any(|begin| words.starts_with(begin))
}
