// The API key of the viewer. It is kept for this tab alone, and sent in a header or in `auth` of Socket.IO, never in an address.

const NAME = "api-key"

class ApiKey {
  secret: string | null = $state(stored())

  /** What the server says of a key that it does not know; null where it has refused none. */
  refusal: string | null = $state(null)

  /** The server does not know `secret`. This says nothing of a key that the viewer has given since. */
  refuse(secret: string | null, detail: string): void {
    if (secret === this.secret) this.refusal = detail
  }

  set(secret: string | null): void {
    this.secret = secret
    this.refusal = null
    try {
      if (secret === null) sessionStorage.removeItem(NAME)
      else sessionStorage.setItem(NAME, secret)
    } catch {
      // The browser keeps nothing for this page: the key holds until the tab is closed or loaded again.
    }
  }
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(NAME)
  } catch {
    return null
  }
}

export const apiKey = new ApiKey()
