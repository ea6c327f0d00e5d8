// Device-management requests as an application sees them: what is asked of which devices, and how far each is.

import Bytes
import PlatformProtocol

/// A parameter of a request.
public struct ActionParameter: Codable, Equatable, Sendable {
  /// The name.
  public var name: String
  /// The value.
  public var value: JSONValue

  /// A parameter.
  public init(name: String, value: JSONValue) {
    self.name = name
    self.value = value
  }
}

/// One device's part of a request.
public struct DeviceProgress: Equatable, Sendable {
  /// The device.
  public var device: DeviceKey
  /// How far it is.
  public var state: State
  /// For people: what the device said, or what is awaited.
  public var message: String
  /// When this last changed, in milliseconds since 1970.
  public var updated: Int64

  /// How far a device is. Firmware goes through all but `restarting`.
  public enum State: Equatable, Sendable {
    /// Nothing was asked of it yet.
    case new
    /// It is to answer the request of ours with this `reqId`.
    case asked(Question, requestID: String)
    /// It is to come back with a manage request.
    case restarting
    /// It is to notify us of the last state of its firmware.
    case working
    /// Nothing more will happen.
    case done(Outcome)
  }

  /// What a device is asked.
  public enum Question: Equatable, Sendable {
    /// To take firmware attributes.
    case update
    /// To tell when they change.
    case observe
    /// To begin with the action.
    case initiate
    /// To tell no more.
    case cancel
  }

  /// How a request ended. The platform's documents do not list the numbers: these are ours, and 1 is for what is under
  /// way.
  public enum Outcome: Int, Sendable {
    /// Done.
    case success = 0
    /// The device says that it cannot do this (501), or never said that it could.
    case unsupported = 2
    /// The device refused or failed.
    case failed = 3
    /// Time ran out.
    case timedOut = 4
    /// An operator cancelled it, or another request overrode it.
    case cancelled = 5
  }

  /// A device's part of a request.
  public init(device: DeviceKey, state: State, message: String, updated: Int64) {
    self.device = device
    self.state = state
    self.message = message
    self.updated = updated
  }

  /// Whether nothing more will happen.
  public var isComplete: Bool {
    if case .done = state { true } else { false }
  }

  /// The number for the outcome, or 1.
  public var status: Int {
    if case .done(let outcome) = state { outcome.rawValue } else { 1 }
  }

  /// The `reqId` of the request to the device that waits for an answer.
  public var requestID: String? {
    if case .asked(_, let id) = state { id } else { nil }
  }
}

/// What is kept is as the first version had it: number of the step, status and `isComplete` side by side.
extension DeviceProgress: Codable {
  private enum Key: String, CodingKey {
    case device, status, message, isComplete, step, requestID, updated
  }

  /// The steps by their numbers.
  private static var steps: [String] { ["update", "observe", "initiate", "manage", "notify", "cancel", "done"] }

  /// What is awaited from the device, in a word.
  var step: String {
    switch state {
    case .new: "initiate"
    case .asked(let question, _): "\(question)"
    case .restarting: "manage"
    case .working: "notify"
    case .done: "done"
    }
  }

  /// Reads what `encode` wrote.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    device = try container.decode(DeviceKey.self, forKey: .device)
    message = try container.decode(String.self, forKey: .message)
    updated = try container.decode(Int64.self, forKey: .updated)
    let id = try container.decodeIfPresent(String.self, forKey: .requestID)
    let step = try container.decode(Int.self, forKey: .step)
    let outcome = Outcome(rawValue: try container.decode(Int.self, forKey: .status))
    switch (step, id) {
    case (0, let id?): state = .asked(.update, requestID: id)
    case (1, let id?): state = .asked(.observe, requestID: id)
    case (2, let id?): state = .asked(.initiate, requestID: id)
    case (5, let id?): state = .asked(.cancel, requestID: id)
    case (2, nil): state = .new
    case (3, _): state = .restarting
    case (4, _): state = .working
    default:
      guard step == 6, let outcome else {
        throw DecodingError.dataCorruptedError(forKey: .step, in: container, debugDescription: "no step \(step)")
      }
      state = .done(outcome)
    }
  }

  /// Writes this as the first version did.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(device, forKey: .device)
    try container.encode(status, forKey: .status)
    try container.encode(message, forKey: .message)
    try container.encode(isComplete, forKey: .isComplete)
    try container.encode(DeviceProgress.steps.firstIndex(of: step), forKey: .step)
    try container.encodeIfPresent(requestID, forKey: .requestID)
    try container.encode(updated, forKey: .updated)
  }
}

/// A device-management request.
public struct ManagementRequest: Codable, Equatable, Sendable, Identifiable {
  /// A UUID.
  public var id: String
  /// The action's name in the REST API.
  public var action: String
  /// What the action gets.
  public var parameters: [ActionParameter]
  /// Its devices.
  public var devices: [DeviceProgress]
  /// When it was made, in milliseconds since 1970.
  public var started: Int64
  /// When it times out, in milliseconds since 1970.
  public var expires: Int64
  /// Whether all devices are done.
  public var isComplete: Bool
}

/// What an application asks for.
public struct ManagementRequestDraft: Sendable {
  /// The action's name in the REST API.
  public var action: String
  /// What the action gets.
  public var parameters: [ActionParameter]
  /// Its devices.
  public var devices: [DeviceKey]
  /// How long it may take, in seconds; nil for the default.
  public var timeoutSeconds: Int?
  /// Whether other firmware requests of the same devices are cancelled.
  public var overrides: Bool

  /// A request to be made.
  public init(
    action: String, parameters: [ActionParameter] = [], devices: [DeviceKey], timeoutSeconds: Int? = nil,
    overrides: Bool = false
  ) {
    self.action = action
    self.parameters = parameters
    self.devices = devices
    self.timeoutSeconds = timeoutSeconds
    self.overrides = overrides
  }
}
