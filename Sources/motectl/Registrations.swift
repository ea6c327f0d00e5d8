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

  /// Registers what is not registered yet; what is stays as it is.
  func register(in platform: ServiceActor) async throws {
    for type in types ?? [] {
      let record = DeviceTypeRecord(id: type.id, classID: type.classId ?? .device, description: type.description)
      try await unlessRegistered { _ = try await platform.change { try $0.addType(record, now: .now) } }
    }
    for device in devices ?? [] {
      var draft = DeviceDraft(typeID: device.typeId, deviceID: device.deviceId, token: device.authToken)
      draft.resourceGroup = device.resourceGroup.map { group in
        Set(group.map { DeviceKey(typeID: $0.typeId, deviceID: $0.deviceId) })
      }
      let added = draft
      try await unlessRegistered { _ = try await platform.change { try $0.addDevice(added, now: .now) } }
    }
    for key in apiKeys ?? [] {
      try await unlessRegistered {
        _ = try await platform.change {
          try $0.addAPIKey(
            APIKeyDraft(key: key.key, token: key.token, role: key.role ?? .administer), now: .now)
        }
      }
    }
  }

  private func unlessRegistered(_ register: () async throws -> Void) async throws {
    do {
      try await register()
    } catch let error as ServiceError where error.kind == .conflict {
      return
    }
  }
}
