// What `mote help` says.

/// The text about one command, or about the program.
func helpText(for topic: Command?) -> StaticString {
  switch topic {
  case nil, .help: generalHelp
  case .run: runHelp
  case .quickstart: quickstartHelp
  case .check: checkHelp
  case .sensors: sensorsHelp
  case .ask: askHelp
  case .firmware: firmwareHelp
  case .supervise: superviseHelp
  case .version: versionHelp
  }
}

private let generalHelp: StaticString = """
  mote: reads this machine's sensors and publishes them to an MQTT broker

  usage:
    mote run         [--config FILE] [--for DURATION] [--log-level LEVEL] [--log-size SIZE]
    mote quickstart  [--host H] [--port N] [--type T] [--id I] [--for DURATION] [--log-level LEVEL]
    mote check       [--config FILE] [--strict]
    mote sensors     [--json]
    mote status      [--json] [--config FILE | --socket PATH]
    mote publish     EVENT NAME=VALUE… [--qos N] [--config FILE | --socket PATH]
    mote firmware    inspect FILE [--key FILE]
    mote supervise   [--key FILE] COMMAND…
    mote version
    mote help        [COMMAND]

  The configuration is /etc/mote/mote.conf unless --config names another. A DURATION is a number with a unit: 500ms,
  20s, 5m, 1h, 2d. A LEVEL is error, warning, info or debug. Logs go to standard error.

  Exit status: 0 fine, 64 wrong usage, 65 a damaged file or a wrong value, 69 no agent answers, 70 a defect, 71 no
  memory or descriptors, 74 no output, 75 not connected, or not now, 77 no permission, 78 wrong configuration; 80 and
  81 are for `mote supervise`.

  """

private let runHelp: StaticString = """
  mote run [--config FILE] [--for DURATION] [--log-level LEVEL] [--log-size SIZE]

  Connects to the server of the configuration, publishes its events and carries out its commands until a signal ends
  it, or after DURATION. SIGTERM and SIGINT end it cleanly; SIGHUP reloads the configuration, and keeps the old one if
  the new one is wrong. Where standard error is a file, --log-size keeps it from becoming larger: its older half is
  dropped.

  """

private let quickstartHelp: StaticString = """
  mote quickstart [--host H] [--port N] [--type T] [--id I] [--for DURATION] [--log-level LEVEL]

  Publishes what this machine can measure, without a configuration or registration: organisation quickstart, one event
  `status` every two seconds, QoS 0, no encryption. The type is `mote` and the identifier random unless they are given.
  SIGTERM, SIGINT and SIGHUP end it cleanly.

  """

private let checkHelp: StaticString = """
  mote check [--config FILE] [--strict]

  Reads the configuration, the environment and what they name: the token, trusted certificates, the commands' programs,
  and every sensor, once. Reports with file, line and column what is wrong. An error is what `mote run` refuses; what
  cannot work on this machine at present is a warning, and an error with --strict. It connects to nothing, and looks
  with the rights of the user who calls it, whom it names: call it as the agent's. Exit status 78 for errors; otherwise
  the settings in force are printed, without secrets.

  """

private let sensorsHelp: StaticString = """
  mote sensors [--json]

  Lists what this machine has: what to write behind `read =`, its value and unit, and where it is read.

  """

private let askHelp: StaticString = """
  mote status [--json]
  mote publish EVENT NAME=VALUE… [--qos N]
  mote publish EVENT [--qos N] --json OBJECT
  mote location LAT LON [--elevation M] [--accuracy M]
  mote diagnose add-error N|clear-errors|clear-log
  mote diagnose add-log TEXT [--severity info|warning|error] [--data TEXT|0xHEX]
  mote unmanage
  mote manage

  Ask the running agent, by its control socket: the one of --socket, of the configuration, or /run/mote/control.

  status says how it is; exit status 0 if it is connected, 75 if not. publish sends an event: values are numbers, true,
  false, JSON strings or other text. It says `sent`, or `queued` for one that waits for the network.

  The others tell the platform of a managed device where it is and what is wrong with it, in degrees, metres and whole
  numbers; or have it leave the platform's management, and come back. They say `queued`.

  """

private let firmwareHelp: StaticString = """
  mote firmware inspect FILE [--key FILE]

  Says what the bundle FILE is, and reads all of it as an installation would. With a public key (PEM, P-256) it says
  whether that key has signed it. Exit status 65 if it is none, is damaged, or is not signed by the key.

  """

private let superviseHelp: StaticString = """
  mote supervise [--key FILE] COMMAND…

  Starts `mote COMMAND…`, most often `run`, by the newest program in /var/lib/mote/firmware that a key of FILE has
  signed, and by this one otherwise. A new one that ends, hangs or does not prove itself is given up. Ends as the
  program does; root becomes the owner of /var/lib/mote.

  """

private let versionHelp: StaticString = """
  mote version

  Prints the version.

  """
