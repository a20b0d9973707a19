/** Wakes that concern an agent only as long as the issue is assigned to it. */
const FOR_ASSIGNEE: ReadonlySet<string> = new Set(['issue_assigned', 'issue_commented', 'issue_reopened']);

/** Whether everything that somebody was woken for concerns only whom the issue is assigned to. */
export const isForAssigneeOnly = (reasons: string[]) =>
  reasons.length > 0 && reasons.every((reason) => FOR_ASSIGNEE.has(reason));
