// The agent's bounds and waits, each with its reason.

import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// Bounds and waits of the agent.
public enum AgentLimits {
  /// How long a whole connection attempt may take: look-up (10 s), every address (5 s each), TLS handshake (30 s).
  public static var linkOpenTimeout: TimeSpan { .seconds(90) }
  /// How long a clean end waits for acknowledgements.
  public static var stopTimeout: TimeSpan { .seconds(5) }
  /// How many connections in a row may speak against a message before it is given up (`oldestInflightAttempts`). On a
  /// link that is cut at random bytes at worst one connection in six ends right behind a message of usual size and not
  /// elsewhere; five such in a row are one in 7,000, and ten have to be once another has ended elsewhere. The waits
  /// between them leave a server that only restarts the time to come back.
  public static var messageAttemptsMax: Int { 7 }
  /// Packets handled in one step, so that a flood of them cannot keep sensors from being read.
  public static var packetsPerStepMax: Int { 32 }
  /// How long a server takes at most, once there is a connection, to deliver again what was not acknowledged on earlier
  /// ones, and how far it falls back where it loses its state.
  public static var redeliveryMax: TimeSpan { .seconds(60) }
  /// An output that could not be set is tried again after this time.
  public static var outputRetryDelay: TimeSpan { .seconds(10) }
  /// A program that does not end after the polite signal is killed after this time.
  public static var programGrace: TimeSpan { .seconds(2) }
  /// The longest sleep: nothing depends on it, it only keeps the deadline finite.
  public static var idleMax: TimeSpan { .minutes(60) }
  /// How soon signs of life follow each other at most, however impatient a watcher is.
  static var signIntervalMin: TimeSpan { .milliseconds(100) }
  /// The same for a watchdog that does not say how patient it is.
  static var feedIntervalMin: TimeSpan { .seconds(1) }
  /// The longest name of a command that is kept for its outcome: all that can be configured.
  public static var commandNameBytesMax: Int { IdentityRules.componentBytesMax }
  /// How much of an action's name is logged, in bytes.
  public static var actionNameBytesMax: Int { 128 }
  /// How much of the last line of an action's output is told where it fails, in bytes.
  public static var actionLineBytesMax: Int { 128 }
  /// The longest name of a command or an action that is kept.
  static func programNameBytesMax(hasActions: Bool) -> Int { hasActions ? actionNameBytesMax : commandNameBytesMax }
  /// What is told of a program's output at most, in bytes.
  public static var outcomeOutputBytesMax: Int { HostLimits.programOutputBytesMax - 1 }
  /// By how many bytes output is cut at a time until the outcome fits a packet.
  static var outcomeCutBytes: Int { 16 }
  /// Room for the outcome of a command: output and name at their worst (every byte escaped to six) and a frame around.
  public static var outcomeBytesMax: Int { (outcomeOutputBytesMax + commandNameBytesMax) * 6 + 256 }
  /// The longest message of device management that is written, and all that wait together.
  public static var managementBytesMax: Int { 4096 }
  /// Room for requests of the device that wait, in bytes.
  public static var deviceRequestBytesMax: Int { 2048 }
  /// How often one that the server does not answer is sent again.
  public static var deviceRequestRetriesMax: Int { 3 }
  /// How soon one that needs the time of day is looked at again where nobody knows it.
  static var clockPause: TimeSpan { .minutes(1) }
  /// How much of a log line the platform is told where it tells of a fault, in bytes.
  public static var diagnosisBytesMax: Int { 256 }
  /// For how long the same fault is not told again.
  public static var diagnosisPause: TimeSpan { .minutes(60) }
  /// How soon others are told.
  public static var diagnosisInterval: TimeSpan { .seconds(1) }
  /// The same where firmware is updated: what the server observes has the address of the image.
  public static var firmwareBytesMax: Int { 2 * managementBytesMax }
  /// The longest address of an image, in bytes: what is signed for a day has two thousand.
  public static var uriBytesMax: Int { 4096 }
  /// Pieces of an image that are taken in one step: a block and what follows from it.
  static var imageStepsMax: Int { 4 }
  /// What is logged of the last line that an installer has written, in bytes.
  public static var installerOutputBytesMax: Int { 160 }
  /// How long a program that is on trial has to have been in touch with the server, when events arrive.
  public static var trialTime: TimeSpan { .seconds(30) }
  /// The same where none has arrived: half of what its supervisor gives it.
  public static var silentTrialTime: TimeSpan { .seconds(300) }
  /// How soon it is looked at again whether they have.
  static var trialPause: TimeSpan { .seconds(5) }
  /// How long an installer's program may take.
  public static var installTimeout: TimeSpan { .minutes(60) }
  /// The same of one that speaks with the boot loader.
  public static var slotsTimeout: TimeSpan { .seconds(60) }
  /// In how many runs of the agent a server is told what an image came to, if it does not say that it knows.
  public static var reportsMax: UInt8 { 10 }
  /// How long the server may take for its answer to a request of the device, that to be managed included.
  public static var manageTimeout: TimeSpan { .seconds(60) }
  /// How long an action waits until the server has been told that it will be done.
  public static var answerTimeout: TimeSpan { .seconds(10) }
  /// The same behind a restart of the agent, with the time that connecting takes.
  public static var resumedAnswerTimeout: TimeSpan { .seconds(60) }
  /// How long a program may take that acts upon the whole machine.
  public static var actionTimeout: TimeSpan { .minutes(10) }
  /// How long writing all file systems may take: one that is dead must not keep the machine from restarting.
  public static var syncTimeout: TimeSpan { .seconds(30) }
  /// How long a machine that is about to restart may go on.
  public static var restartPatience: TimeSpan { .minutes(5) }
  /// How often the file is looked at that says where the device is.
  public static var locationInterval: TimeSpan { .seconds(10) }
  /// How soon a record that could not be written is tried again.
  public static var storageRetryPause: TimeSpan { .seconds(30) }
  /// How long a server may take until all of what its answer begins with is there.
  public static var answerHeadTimeout: TimeSpan { .seconds(30) }
  /// How much of a file must come at least in each window, in bytes: 64 a second.
  public static var transferWindowBytesMin: Int { 64 * 120 }
  /// The window.
  public static var transferWindow: TimeSpan { .seconds(120) }
  /// How many bytes of a file are passed over, where asking anew for those behind them would take longer.
  public static var passedOverBytesMax: UInt64 { 65_536 }
  /// How many answers of 1xx are passed over.
  public static var interimAnswersMax: Int { 5 }
  /// How many redirects are followed in a row.
  public static var redirectsMax: Int { 5 }
  /// How often a server that breaks HTTP's rules is asked again, or one that sends a page instead of a file.
  public static var serverFaultsMax: Int { 3 }
  /// How often a file may change under a download, or all of it come where the rest was asked for.
  public static var fileChangesMax: Int { 3 }
  /// How long a server may have us wait, in seconds.
  public static var retryAfterSecondsMax: UInt64 { 3600 }
  /// Subscriptions that the agent can have.
  public static var subscriptionsMax: Int { PerSubscription<UInt8>.count }

  /// Holds related limits against each other; they stand in different modules.
  static func check() {
    // A subscription is asked for with one packet; the client must be able to have all of them unanswered.
    precondition(subscriptionsMax <= ClientLimits.requestsMax)
    // A command whose program still runs must be known when it comes again.
    precondition(RecentCommands.countMax > HostLimits.programsMax + RecentCommands.waitingMax)
  }
}

/// One of something for each subscription: the one place where their number stands.
typealias PerSubscription<Element> = InlineArray<4, Element>
