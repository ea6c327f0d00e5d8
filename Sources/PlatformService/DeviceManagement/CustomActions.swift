// Custom actions as bundles describe them: which parameters they take, and what those may be.

import IoTPlatform
import PlatformProtocol

/// A parameter of a custom action.
public struct CustomParameter {
  /// The name.
  let name: String
  /// What the whole value matches; nil for anything.
  private let pattern: ValuePattern?
  let isRequired: Bool
  /// What is sent if a request does not give it.
  let defaultValue: JSONValue?

  /// Understands a bundle's description of a parameter.
  ///
  /// - Throws: `invalid` where it has no name or something else than what a parameter has, or where its regular
  ///   expression is none.
  public init(_ description: JSONValue) throws(ServiceError) {
    guard let name = description["name"]?.string, CustomParameter.isValidName(name) else {
      throw ServiceError(
        .invalid,
        "A parameter has 'name': 1 to \(ServiceLimits.bundleNameBytesMax) letters, digits, '-', '_' and '.'.")
    }
    self.name = name
    switch description["value"] ?? .null {
    case .null: pattern = nil
    case .string(let text):
      guard text.utf8.count <= ServiceLimits.patternBytesMax else {
        throw ServiceError(
          .invalid, "'value' of the parameter '\(name)' has at most \(ServiceLimits.patternBytesMax) bytes.")
      }
      do {
        pattern = try ValuePattern(text)
      } catch {
        throw ServiceError(
          .invalid,
          "'value' of the parameter '\(name)' is a regular expression without references and look-around: "
            + error.message + ".")
      }
    default: throw ServiceError(.invalid, "'value' of the parameter '\(name)' is a text: a regular expression.")
    }
    switch description["required"] ?? .null {
    case .null: isRequired = false
    case .boolean(let value): isRequired = value
    default: throw ServiceError(.invalid, "'required' of the parameter '\(name)' is true or false.")
    }
    defaultValue = description["defaultValue"].flatMap { $0 == .null ? nil : $0 }
  }

  /// Understands the parameters of an action; of several of one name the last one counts.
  ///
  /// - Throws: `invalid`, as above.
  public static func parameters(of action: JSONValue) throws(ServiceError) -> [CustomParameter] {
    let member = action["parameters"] ?? .null
    if member == .null { return [] }
    guard let descriptions = member.array else { throw ServiceError(.invalid, "'parameters' is an array.") }
    var parameters: [CustomParameter] = []
    for description in descriptions {
      let parameter = try CustomParameter(description)
      parameters.removeAll { $0.name == parameter.name }
      parameters.append(parameter)
    }
    return parameters
  }

  /// Whether `text` may name a bundle, its version, an action or a parameter.
  public static func isValidName(_ text: String) -> Bool {
    (1...ServiceLimits.bundleNameBytesMax).contains(text.utf8.count)
      && text.utf8.allSatisfy(IdentityRules.isComponentByte) && !isDots(text.utf8Span.span)
  }

  /// Whether the parameter may have this value. Numbers and truth values are compared as they are written.
  func accepts(_ value: JSONValue) -> Bool {
    guard let pattern else { return true }
    let text: String
    switch value {
    case .string(let string): text = string
    case .number, .boolean: text = value.text
    case .null, .array, .object: return false
    }
    return text.utf8.count <= ServiceLimits.matchedBytesMax && pattern.matches(text)
  }

  /// What the device gets of what a request gives: all of it, and the values that stand for what is not given.
  ///
  /// - Throws: `invalid` for a parameter that the action does not have or that may not have its value, and for a
  ///   required one that is missing.
  static func complete(_ given: [ActionParameter], for action: JSONValue) throws(ServiceError) -> [ActionParameter] {
    let parameters = try parameters(of: action)
    for entry in given {
      guard let parameter = parameters.first(where: { $0.name == entry.name }) else {
        throw ServiceError(.invalid, "The action has no parameter '\(entry.name)'.")
      }
      guard parameter.accepts(entry.value) else {
        throw ServiceError(
          .invalid, "The parameter '\(entry.name)' is a value that the bundle's regular expression matches.")
      }
    }
    var result = given
    for parameter in parameters where !given.contains(where: { $0.name == parameter.name }) {
      if let value = parameter.defaultValue {
        result.append(ActionParameter(name: parameter.name, value: value))
      } else if parameter.isRequired {
        throw ServiceError(.invalid, "The action needs the parameter '\(parameter.name)'.")
      }
    }
    return result
  }
}
