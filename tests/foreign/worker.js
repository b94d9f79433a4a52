// Runs the job of job.js until it is told to stop: node worker.js ADDRESS TASK_QUEUE
const { DefaultLogger, NativeConnection, Runtime, Worker } = require('@temporalio/worker');

async function main(address, taskQueue) {
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: require.resolve('./job.js'),
  });
  console.log('ready');
  await worker.run();
  await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
