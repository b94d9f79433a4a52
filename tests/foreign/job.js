// A job workflow in another language: it knows nothing of Headgate but the names and the JSON of
// docs/other-languages.md.
const { condition, defineQuery, defineSignal, proxyActivities, setHandler } = require('@temporalio/workflow');

async function foreignJob(governance, ask) {
  const headgate = proxyActivities({ taskQueue: governance, scheduleToCloseTimeout: '30 seconds' });
  const decisions = [];
  const told = new Map();
  let mayEnd = false;
  setHandler(defineQuery('known'), () => decisions);
  setHandler(defineSignal('end'), () => { mayEnd = true; });
  setHandler(defineSignal('headgate_granted'), (grant) => { told.set(grant.id, grant); });
  setHandler(defineSignal('headgate_refused'), (decision) => { told.set(decision.id, decision); });

  const decision = await headgate['headgate.admit'](ask);
  decisions.push(decision);
  if (decision.outcome === 'denied') return decisions;
  if (decision.outcome === 'waiting') {
    await condition(() => told.has(decision.id));
    decisions.push(told.get(decision.id));
    if (told.get(decision.id).outcome === 'denied') return decisions;
  }
  await condition(() => mayEnd);
  await headgate['headgate.release']({ id: decision.id, tenant: ask.tenant });
  return decisions;
}

module.exports = { foreignJob };
