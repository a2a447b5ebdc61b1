// The track record page by page, with a bound. Pure but for the request that it is given.

import type { Answer } from "../../api/client.ts"
import type { Gap, RecordedSignal, RecordPage } from "../../api/types.ts"

export const PAGE_SIZE = 100
/** How many pages are asked for at most: 2,000 signals. */
export const MOST_PAGES = 20

export interface RecordQuery {
  from?: string
  limit?: number
  cursor?: string
}

/** Several pages as one. isCut: there are more than MOST_PAGES. */
export interface Book {
  readonly ticker: string
  readonly source: RecordPage["source"]
  readonly generatedAt: string
  readonly firstDay: string
  readonly lastDay: string
  readonly recordBegins: string | null
  /** The region whose record counts, where this is that of another one. */
  readonly elsewhere: string | null
  readonly signals: readonly RecordedSignal[]
  readonly gaps: readonly Gap[]
  readonly isCut: boolean
}

export type FetchPage = (query: RecordQuery, signal: AbortSignal) => Promise<Answer<RecordPage>>

/** What asks for the pages one after another. After a failure it goes on with the page that failed. */
export function pageReader(fetchPage: FetchPage, first: RecordQuery): (signal: AbortSignal) => Promise<Answer<Book>> {
  const pages: RecordPage[] = []
  let query: RecordQuery | null = { ...first, limit: PAGE_SIZE }
  return async (signal) => {
    while (query !== null && pages.length < MOST_PAGES) {
      const answer: Answer<RecordPage> = await fetchPage(query, signal)
      if (answer.failure !== null) return answer
      pages.push(answer.data)
      query = nextQuery(answer.data.next)
    }
    return { data: bookOf(pages, query !== null), failure: null }
  }
}

/** The query of the path of a next page; null without one. */
export function nextQuery(path: string | null): RecordQuery | null {
  if (path === null) return null
  return Object.fromEntries(new URL(path, "http://page.invalid").searchParams)
}

function bookOf(pages: readonly RecordPage[], isCut: boolean): Book {
  const [head] = pages
  if (head === undefined) throw new Error("a book has one page at least")
  return {
    ticker: head.ticker,
    source: head.source,
    generatedAt: head.generated_at,
    firstDay: head.first_day,
    lastDay: head.last_day,
    recordBegins: head.record_begins,
    elsewhere: head.is_home_record ? null : head.home_region,
    signals: pages.flatMap((page) => page.signals),
    gaps: pages.flatMap((page) => page.gaps),
    isCut,
  }
}
