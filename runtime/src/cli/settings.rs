//! The settings of a server as `weir serve` and `weir config show` take them: file, environment and flags together. Says what
//! is wrong in any of them.

use std::path::{Path, PathBuf};

use super::Exit;
use crate::settings::server::{Flag, Loaded, load};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Layers {
    /// Settings of the server; default: weir.toml in the data folder, where there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything lies that the server keeps; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address of API, metrics and probes; port 0 takes a free one and prints it; default: 127.0.0.1:7171
    #[arg(long, value_name = "ADDRESS", value_parser = super::address)]
    listen: Option<String>,
    /// The certificate, and those that sign for it, in PEM; a new one is taken while the server runs
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Serve other machines without TLS: token and data are readable on the way
    #[arg(long)]
    allow_plain_http: bool,
    /// How long a stop waits for last checkpoints; default: 25s
    #[arg(long, value_name = "TIME")]
    shutdown_timeout: Option<String>,
    /// Memory for the state of all pipelines, as 2GiB; what is not in use beyond it lies on disk; default: half of what there is
    #[arg(long, value_name = "SIZE")]
    state_memory: Option<String>,
}

impl Layers {
    /// All of it together. What is wrong is printed.
    pub(super) fn load(&self) -> Result<Loaded, Exit> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        load(self.config.as_deref(), &variables, &self.flags()).map_err(|faults| {
            faults.iter().for_each(|fault| eprint!("{}", fault.render(super::exit::style())));
            Exit::Config
        })
    }

    fn flags(&self) -> Vec<Flag> {
        let path = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|path| path.to_string());
        let said = [
            ("--data", "server.data", path(&self.data)),
            ("--listen", "server.listen", self.listen.clone()),
            ("--tls-cert", "server.tls_cert", path(&self.tls_cert)),
            ("--tls-key", "server.tls_key", path(&self.tls_key)),
            ("--allow-plain-http", "server.allow_plain_http", self.allow_plain_http.then(|| "true".to_owned())),
            ("--shutdown-timeout", "server.shutdown_timeout", self.shutdown_timeout.clone()),
            ("--state-memory", "limits.state_memory", self.state_memory.clone()),
        ];
        said.into_iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value? })).collect()
    }
}
