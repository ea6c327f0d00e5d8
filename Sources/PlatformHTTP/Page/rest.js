// Calls of the platform's REST interface.

/** An answer that is no success. */
export class CallError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The login is missing or over. */
export class NeedsLogin extends CallError {}

/** Calls, and gives the answer's JSON; null where there is none. */
export async function call(method, path, body, type = "application/json") {
  let response;
  try {
    response = await fetch(path, {
      method, signal: AbortSignal.timeout(20000),
      ...(body === undefined ? {} : {
        headers: { "Content-Type": type }, body: type === "application/json" && typeof body !== "string"
          ? JSON.stringify(body) : body,
      }),
    });
  } catch {
    throw new CallError(0, "The platform does not answer.");
  }
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  if (response.ok) return value;
  const message = value?.message ?? `The platform answered ${response.status}.`;
  throw response.status === 401 ? new NeedsLogin(401, message) : new CallError(response.status, message);
}
