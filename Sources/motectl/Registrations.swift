// Registrations from a file: for small sites and tests that set a platform up at each start.

import Foundation
import PlatformProtocol
import PlatformServer
import PlatformService

/// A file of registrations that cannot be used.
struct RegistrationsError: Error, CustomStringConvertible {
  let description: String
}

/// Device types, devices and API keys to be registered unless they are.
struct Registrations: Decodable {
  var types: [TypeEntry]?
  var devices: [DeviceEntry]?
  var apiKeys: [KeyEntry]?

  struct TypeEntry: Decodable {
    var id: String
    var classId: DeviceClass?
    var description: String?
  }

  struct DeviceEntry: Decodable {
    var typeId: String
    var deviceId: String
    var authToken: String
    /// For a gateway of the Standard role: the devices that it may speak for.
    var resourceGroup: [DeviceName]?
  }

  struct DeviceName: Decodable {
    var typeId: String
    var deviceId: String
  }

  struct KeyEntry: Decodable {
    var key: String
    var token: String
    var role: KeyRole?
  }

  init(apiKeys: [KeyEntry]) { self.apiKeys = apiKeys }

  init(file: String) throws {
    guard let data = FileManager.default.contents(atPath: file) else {
      throw RegistrationsError(description: "cannot read \(file)")
    }
    do {
      self = try JSONDecoder().decode(Registrations.self, from: data)
    } catch {
      throw RegistrationsError(
        description:
          #"\#(file) is not {"types":[{"id","classId"}],"devices":[{"typeId","deviceId","authToken","resourceGroup"}],"#
          + #""apiKeys":[{"key","token","role"}]}: \#(error)"#)
    }
  }

  /// Registrations that are made, and waited for, at a time.
  private static let groupCount = 500

  /// Registers what is not registered yet; what is stays as it is.
  func register(in platform: ServiceActor) async throws {
    let types = (types ?? []).map {
      DeviceTypeRecord(id: $0.id, classID: $0.classId ?? .device, description: $0.description)
    }
    try await register(types, in: platform) { _ = try $0.addType($1, now: .now) }
    let devices = (devices ?? []).map { device in
      var draft = DeviceDraft(typeID: device.typeId, deviceID: device.deviceId, token: device.authToken)
      draft.resourceGroup = device.resourceGroup.map { group in
        Set(group.map { DeviceKey(typeID: $0.typeId, deviceID: $0.deviceId) })
      }
      return draft
    }
    try await register(devices, in: platform) { _ = try $0.addDevice($1, now: .now) }
    let keys = (apiKeys ?? []).map { APIKeyDraft(key: $0.key, token: $0.token, role: $0.role ?? .administer) }
    try await register(keys, in: platform) { _ = try $0.addAPIKey($1, now: .now) }
  }

  private func register<Draft: Sendable>(
    _ drafts: [Draft], in platform: ServiceActor,
    _ add: @escaping @Sendable (PlatformService, Draft) throws -> Void
  ) async throws {
    for start in stride(from: 0, to: drafts.count, by: Self.groupCount) {
      let group = Array(drafts[start..<min(start + Self.groupCount, drafts.count)])
      try await platform.change { service in
        for draft in group {
          do {
            try add(service, draft)
          } catch let error as ServiceError where error.kind == .conflict {
            continue
          }
        }
      }
    }
  }
}
